"""Events to an EventBridge bus.

EventBridge has fields of its own for what a CloudEvent says of itself, and rules match on them:
the source, the type (`DetailType`) and the time. The event id, for which it has none, is the one
entry of `Resources`; the id that EventBridge gives is another on every attempt. The job's args are
the detail. There is no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Unpack

import msgspec

from riverbridge.model.outcome import Outcome, Permanent
from riverbridge.sinks.aws_access import Access, Reach
from riverbridge.sinks.aws_api import Api, NotRead, Placed, by_place, json_headers
from riverbridge.sinks.aws_batch import Entry, Line, Loose
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.base import Message

MAX_ENTRIES = 10
MAX_BYTES = 1024 * 1024 - 1
"""Entries of one PutEvents, and bytes of them all: less than 1 MB (its API reference). It was
256 KB before; where it still is, larger requests are refused and sent again in parts."""
TIME_BYTES = 14
"""What EventBridge counts for a time ("Calculating PutEvents event entry size", user guide)."""
MAX_DETAIL_TYPE = 128
"""Characters (API reference of PutEventsRequestEntry)."""


class EventBridgeSink(AwsSink):
    """Delivers events to one bus; see `AwsSink` for `delivery_timeout` and `threads`.

    A message's destination is its DetailType; its source and time are its `ce_` headers.

    event_bus: name or ARN. source: else the message's. receipts: give EventBridge's event ids in
    the outcomes. reach: see `Reach`.
    """

    def __init__(
        self,
        *,
        event_bus: str = "default",
        source: str | None = None,
        delivery_timeout: float = 10.0,
        threads: int = 8,
        receipts: bool = False,
        **reach: Unpack[Reach],
    ) -> None:
        access = Access("events", event_bus, **reach)
        api = PutEvents(event_bus, source, receipts=receipts)
        super().__init__(api, access, delivery_timeout=delivery_timeout, threads=threads)


class _WireEntry(msgspec.Struct, omit_defaults=True, rename="pascal"):
    event_bus_name: str
    source: str
    detail_type: str
    detail: str
    resources: list[str]
    time: float | None = None


class _Request(msgspec.Struct, rename="pascal"):
    entries: list[_WireEntry]


class _Reply(msgspec.Struct, rename="pascal"):
    entries: list[Placed]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class PutEvents(Api):
    """EventBridge's batch operation, in AWS's JSON protocol."""

    service = "EventBridge"
    most = MAX_ENTRIES
    headers = json_headers("1.1", "AWSEvents.PutEvents")

    def __init__(self, event_bus: str, source: str | None, *, receipts: bool = False) -> None:
        self._event_bus = event_bus
        self._source = source
        self._receipts = receipts

    def limit(self, patience: float) -> int:
        return MAX_BYTES

    def prepare(self, index: int, message: Message, limit: int) -> Entry | Permanent:
        try:
            wire = self._wire(message)
            size = _size(wire)
        except ValueError as error:
            return Permanent(f"not sent to EventBridge: {error}")
        if size > limit:
            return Permanent(
                f"not sent to EventBridge: the event is {size} bytes as EventBridge counts them "
                f"and it takes {limit}: make the job's args smaller or send a reference"
            )
        return Entry(index, wire, size)

    def line(self, entries: Sequence[Entry], limit: int) -> Line:
        return Loose(entries, MAX_ENTRIES, limit)

    def encode(self, entries: Sequence[Entry]) -> bytes:
        return _encode(_Request([entry.wire for entry in entries]))

    def read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            results = _decode(body).entries
        except msgspec.MsgspecError as error:
            raise NotRead from error
        return by_place("EventBridge", results, entries, receipts=self._receipts)

    def _wire(self, message: Message) -> _WireEntry:
        """Raises ValueError for a message that cannot be an event."""
        headers = dict(message.headers)
        source = self._source or headers.get("ce_source")
        time = headers.get("ce_time")
        if not source:
            raise ValueError("the event has no source: set SOURCE, or the envelope to cloudevents")
        if not 1 <= len(message.destination) <= MAX_DETAIL_TYPE:
            raise ValueError(
                f"the detail type {message.destination[:40]!r} has {len(message.destination)} "
                f"characters and 1 to {MAX_DETAIL_TYPE} are allowed: change DETAIL_TYPE"
            )
        detail = (message.body or b"").decode()
        if not detail.lstrip().startswith("{"):
            raise ValueError("the body is not a JSON object, which the detail of an event must be")
        return _WireEntry(
            self._event_bus,
            source,
            message.destination,
            detail,
            [message.id],
            datetime.fromisoformat(time).timestamp() if time else None,
        )


def _size(wire: _WireEntry) -> int:
    texts = (wire.source, wire.detail_type, wire.detail, *wire.resources)
    return sum(len(text.encode()) for text in texts) + (TIME_BYTES if wire.time is not None else 0)
