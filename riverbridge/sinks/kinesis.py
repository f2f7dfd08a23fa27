"""Records to a Kinesis data stream.

A record is bytes and a partition key, with no place for headers, so it is a whole CloudEvent in
JSON, unless only the body is wanted. The partition key is the message's key, or its id if it has
none. The records of a key are never in two requests at once, and after one that failed no later
request carries the key within that call of `deliver`; but Kinesis may refuse one record of a
request and take a later one of the same key ("PutRecords doesn't guarantee the ordering of
records", its API reference).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Unpack

import msgspec

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Outcome, Permanent
from riverbridge.sinks.aws_access import Access, Reach
from riverbridge.sinks.aws_api import Api, NotRead, Placed, by_place, json_headers
from riverbridge.sinks.aws_batch import Entry, Grouped, Line
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.base import Message
from riverbridge.sinks.cloud_event import structured

MAX_RECORDS = 500
"""Of one PutRecords (its API reference)."""
MAX_RECORD = 1024 * 1024
"""Bytes of data and partition key, unless the stream's MaxRecordSizeInKiB is above its least."""
MAX_REQUEST = 5 * 1024 * 1024
"""Bytes of a request's records. PutRecords has come to take 10 MiB; not all that speak its
protocol have."""
MAX_KEY = 256
"""Characters of a partition key."""


class KinesisSink(AwsSink):
    """Delivers records to one stream; see `AwsSink` for `delivery_timeout` and `threads`.

    stream_name or stream_arn: one of them. cloud_event: a record is a structured CloudEvent, else
    the body alone. max_record_size: what the stream takes, in bytes. receipts: give shards and
    sequence numbers in the outcomes. reach: see `Reach`.
    """

    def __init__(
        self,
        *,
        stream_name: str | None = None,
        stream_arn: str | None = None,
        delivery_timeout: float = 10.0,
        threads: int = 8,
        cloud_event: bool = True,
        max_record_size: int = MAX_RECORD,
        receipts: bool = False,
        **reach: Unpack[Reach],
    ) -> None:
        if (stream_name is None) == (stream_arn is None):
            raise ConfigurationError("Kinesis: give either stream_name or stream_arn")
        access = Access("kinesis", stream_arn, **reach)
        api = PutRecords(stream_name, stream_arn, cloud_event, max_record_size, receipts=receipts)
        super().__init__(api, access, delivery_timeout=delivery_timeout, threads=threads)


class _WireEntry(msgspec.Struct, rename="pascal"):
    data: bytes
    partition_key: str


class _Request(msgspec.Struct, omit_defaults=True):
    records: list[_WireEntry] = msgspec.field(name="Records")
    name: str | None = msgspec.field(default=None, name="StreamName")
    arn: str | None = msgspec.field(default=None, name="StreamARN")


class _Reply(msgspec.Struct, rename="pascal"):
    records: list[Placed]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class PutRecords(Api):
    """Kinesis's batch operation, in AWS's JSON protocol."""

    service = "Kinesis"
    most = MAX_RECORDS
    headers = json_headers("1.1", "Kinesis_20131202.PutRecords")

    def __init__(
        self,
        name: str | None,
        arn: str | None,
        cloud_event: bool,
        limit: int,
        *,
        receipts: bool = False,
    ) -> None:
        self._name = name
        self._arn = arn
        self._cloud_event = cloud_event
        self._limit = limit
        self._receipts = receipts

    def limit(self, patience: float) -> int:
        return self._limit

    def prepare(self, index: int, message: Message, limit: int) -> Entry | Permanent:
        key = message.key if message.key is not None else _short(message.id)
        if not 1 <= len(key) <= MAX_KEY:
            return Permanent(
                f"not sent to Kinesis: the key {key[:40]!r} has {len(key)} characters and a "
                f"partition key has 1 to {MAX_KEY}: change the route's KEY"
            )
        if message.body is None and not self._cloud_event:
            return Permanent("not sent to Kinesis: a tombstone (no body) would be an empty record")
        try:
            data = structured(message) if self._cloud_event else message.body or b""
            size = len(data) + len(key.encode())
        except UnicodeEncodeError as error:
            return Permanent(f"not sent to Kinesis: it holds what is not UTF-8: {error}")
        if size > limit:
            return Permanent(
                f"not sent to Kinesis: the record is {size} bytes with its partition key and the "
                f"stream takes {limit} (MAX_RECORD_SIZE): make the job's args smaller or send a "
                "reference"
            )
        return Entry(index, _WireEntry(data, key), size, key)

    def line(self, entries: Sequence[Entry], limit: int) -> Line:
        return Grouped(entries, MAX_RECORDS, MAX_REQUEST, each=MAX_RECORDS)

    def encode(self, entries: Sequence[Entry]) -> bytes:
        return _encode(_Request([entry.wire for entry in entries], self._name, self._arn))

    def read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            results = _decode(body).records
        except msgspec.MsgspecError as error:
            raise NotRead from error
        return by_place("Kinesis", results, entries, receipts=self._receipts)


def _short(id_: str) -> str:
    """An id as partition key: where it is too long its hash will do, nobody reads it."""
    if len(id_) <= MAX_KEY:
        return id_
    return hashlib.sha256(id_.encode(errors="surrogatepass")).hexdigest()
