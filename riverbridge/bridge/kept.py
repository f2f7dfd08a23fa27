"""An event as a row of the quarantine, and back: nothing of it is lost."""

from __future__ import annotations

import base64

import msgspec

from riverbridge.model.text import error_text
from riverbridge.sources.base import Event, Position
from riverbridge.store.ingest import Quarantined

_headers = msgspec.json.Decoder(tuple[tuple[str, str], ...])


def lying(source: str, event: Event, reason: str) -> Quarantined:
    """`event` as a row, with all of its bytes."""
    headers = [(name, base64.b64encode(value).decode()) for name, value in event.headers]
    position = event.position
    return Quarantined(
        0,
        source,
        error_text(event.id),
        error_text(event.topic),
        None if position is None else position.partition,
        None if position is None else position.after,
        event.at,
        event.key,
        msgspec.json.encode(headers),
        event.body,
        error_text(reason),
    )


def event_of(row: Quarantined) -> Event:
    """The event that `lying` made `row` of."""
    headers = tuple((name, base64.b64decode(text)) for name, text in _headers.decode(row.headers))
    position = None
    if row.partition is not None and row.position is not None:
        position = Position(row.partition, row.position)
    return Event(row.event_id, row.body, row.topic, row.key, headers, row.event_at, position)
