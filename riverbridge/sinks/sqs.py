"""Messages to an SQS queue, standard or FIFO.

At least once on a standard queue. On a FIFO queue the message's id deduplicates for five minutes
and its key is the group: within one call of `deliver` a message is sent only when SQS has
acknowledged the earlier ones of its group.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry
from riverbridge.sinks.aws_access import Access
from riverbridge.sinks.aws_api import DELIVERED, Api, NotRead
from riverbridge.sinks.aws_batch import Entry, Grouped, Line, Loose
from riverbridge.sinks.aws_errors import entry_outcome
from riverbridge.sinks.aws_signer import SupportsFreezing
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.aws_text import Place, data_type, text_of
from riverbridge.sinks.base import Message
from riverbridge.sinks.sqs_limit import QueueLimit, sqs_headers

MAX_ENTRIES = 10
"""Of one SendMessageBatch."""

_REGION_IN_HOST = (
    re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)"),
    re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d+)\.queue\.amazonaws\.com"),
)


class SqsSink(AwsSink):
    """Delivers messages to one queue; see `AwsSink` for `delivery_timeout` and `threads`.

    queue_url: as SQS gives it; FIFO if it ends with `.fifo`.
    region: else the one in the URL, else the one of the AWS configuration.
    endpoint_url: else scheme and host of the queue URL. Proxies of the environment are not used.
    credentials: else boto3's normal chain.
    fair_queue: on a standard queue send the key as MessageGroupId (fair queues).
    group_batch: messages of one group in one request. With the default of 1 order holds whatever
        SQS refuses; up to 10 is faster with few groups, but SQS may then refuse one message and
        take a later one of the same request.
    receipts: give SQS's message ids in the outcomes.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        delivery_timeout: float = 10.0,
        threads: int = 8,
        credentials: SupportsFreezing | None = None,
        fair_queue: bool = False,
        group_batch: int = 1,
        receipts: bool = False,
    ) -> None:
        if not 1 <= group_batch <= MAX_ENTRIES:
            raise ConfigurationError(
                f"SQS: group_batch is {group_batch} and must be 1 to {MAX_ENTRIES}"
            )
        access = queue_access(queue_url, region, endpoint_url, credentials)
        limit = QueueLimit(queue_url, access.signer, access.connection())
        fifo = urlsplit(queue_url).path.endswith(".fifo")
        place = Place("SQS", "queue", fifo, fair_queue)
        api = SendMessageBatch(queue_url, limit, place, group_batch, receipts)
        super().__init__(api, access, delivery_timeout=delivery_timeout, threads=threads)


def queue_access(
    queue_url: str,
    region: str | None,
    endpoint_url: str | None,
    credentials: SupportsFreezing | None,
) -> Access:
    """Where the queue is reached; arguments as of `SqsSink`. Raises ConfigurationError."""
    if not urlsplit(queue_url).path.strip("/"):
        raise ConfigurationError(f"SQS: {queue_url!r} names no queue: https://host/account/queue")
    region = region or region_of(queue_url)
    return Access(
        "sqs",
        region=region,
        endpoint_url=endpoint_url or origin(queue_url, region),
        credentials=credentials,
    )


def region_of(queue_url: str) -> str | None:
    """The region in an AWS queue URL's host, if it names one."""
    host = urlsplit(queue_url).hostname or ""
    for pattern in _REGION_IN_HOST:
        found = pattern.search(host)
        if found:
            return found.group(1)
    return "us-east-1" if host == "queue.amazonaws.com" else None


def origin(queue_url: str, region: str | None) -> str:
    """The URL requests for the queue go to. AWS's oldest hosts do not take the JSON protocol."""
    parts = urlsplit(queue_url)
    if region and (parts.hostname or "").endswith("queue.amazonaws.com"):
        return f"https://sqs.{region}.amazonaws.com"
    return f"{parts.scheme}://{parts.netloc}"


class _AttributeValue(msgspec.Struct, frozen=True, rename="pascal"):
    """A message attribute of type String."""

    string_value: str
    data_type: str = "String"


class WireEntry(msgspec.Struct, omit_defaults=True, rename="pascal"):
    """One entry as SQS spells it; `id` is only unique within its request."""

    id: str
    message_body: str
    message_attributes: dict[str, _AttributeValue] | None = None
    message_group_id: str | None = None
    message_deduplication_id: str | None = None


class _Request(msgspec.Struct, rename="pascal"):
    queue_url: str
    entries: list[WireEntry]


class _Accepted(msgspec.Struct, rename="pascal"):
    id: str
    message_id: str = ""
    md5: str = msgspec.field(default="", name="MD5OfMessageBody")


class _Failed(msgspec.Struct, rename="pascal"):
    id: str
    code: str = ""
    message: str | None = None
    sender_fault: bool = False


class _Reply(msgspec.Struct, rename="pascal"):
    successful: list[_Accepted] | None = None
    failed: list[_Failed] | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class SendMessageBatch(Api):
    """SQS's batch operation, in its JSON protocol."""

    service = "SQS"
    most = MAX_ENTRIES
    headers = sqs_headers("SendMessageBatch")

    def __init__(
        self, queue_url: str, limit: QueueLimit, place: Place, group_batch: int, receipts: bool
    ) -> None:
        self._queue_url = queue_url
        self._limit = limit
        self._place = place
        self._group_batch = group_batch
        self._receipts = receipts

    def limit(self, patience: float) -> int:
        return self._limit.current(patience)

    def close(self) -> threading.Thread | None:
        return self._limit.close()

    def prepare(self, index: int, message: Message, limit: int) -> Entry | Permanent:
        text = text_of(message, self._place, limit)
        if isinstance(text, Permanent):
            return text
        attributes = {
            name: _AttributeValue(value, data_type(name)) for name, value in text.attributes.items()
        }
        wire = WireEntry(str(index), text.body, attributes or None, text.group, text.deduplication)
        return Entry(index, wire, text.size, text.group or "")

    def line(self, entries: Sequence[Entry], limit: int) -> Line:
        if self._place.fifo:
            return Grouped(entries, MAX_ENTRIES, limit, self._group_batch)
        return Loose(entries, MAX_ENTRIES, limit)

    def encode(self, entries: Sequence[Entry]) -> bytes:
        return _encode(_Request(self._queue_url, [entry.wire for entry in entries]))

    def read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        """Each entry by its own result; what the answer does not name is unknown, so lost."""
        try:
            reply = _decode(body)
        except msgspec.MsgspecError as error:
            raise NotRead from error
        accepted = {one.id: one for one in reply.successful or ()}
        failed = {one.id: one for one in reply.failed or ()}
        return [
            self._result(entry.wire, accepted.get(entry.wire.id), failed.get(entry.wire.id))
            for entry in entries
        ]

    def _result(
        self, wire: WireEntry, accepted: _Accepted | None, failed: _Failed | None
    ) -> Outcome:
        if failed is not None:
            return entry_outcome("SQS", failed.code, failed.message, failed.sender_fault)
        if accepted is None:
            return Retry("SQS's answer does not name the message", ambiguous=True)
        sent = hashlib.md5(wire.message_body.encode(), usedforsecurity=False).hexdigest()
        if accepted.md5 != sent:
            return Retry(
                f"SQS holds another body than was sent (MD5 {accepted.md5 or 'missing'}, "
                f"message id {accepted.message_id})",
                ambiguous=True,
            )
        return Delivered(accepted.message_id) if self._receipts else DELIVERED
