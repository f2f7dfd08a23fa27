"""What people see of sources: how far they were read, and what lies in quarantine."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from riverbridge.model import globs
from riverbridge.model.error_class import error_class
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import instant_of

PLACES_MAX = 1000
"""Positions that are shown."""

_headers = msgspec.json.Decoder(list[tuple[str, str]])


class Place(NamedTuple):
    """How far a partition was read, and when it last moved on."""

    source: str
    partition: str
    position: str
    moved_at: datetime


class Reason(NamedTuple):
    """Events of a source that could not become jobs for alike reasons. newest: the last came."""

    source: str
    reason: str
    events: int
    newest: datetime


class Reasons(NamedTuple):
    """The groups, the largest first. cut: there are older events, which were not looked at."""

    groups: list[Reason]
    cut: bool


class EventLine(NamedTuple):
    """An event in quarantine as a list shows it. size: bytes of its body, None for none."""

    id: int
    source: str
    event_id: str
    topic: str
    partition: str | None
    position: str | None
    size: int | None
    reason: str
    since: datetime


class Octets(NamedTuple):
    """What an event brought, and the whole of why it lies here. body: its beginning."""

    reason: str
    event_at: datetime | None
    key: bytes | None
    headers: list[tuple[str, bytes]]
    body: bytes | None


def places(*, schema: str | None) -> Exchange[list[Place]]:
    """The first PLACES_MAX positions, by source and partition."""
    rows = yield Query("position/list", {"limit": PLACES_MAX}, schema)
    return [
        Place(source, partition, position, instant_of(at))
        for source, partition, position, at in rows
    ]


def reasons(*, window: int, schema: str | None) -> Exchange[Reasons]:
    """The newest `window` events in quarantine, by source and class of reason."""
    rows = yield Query("quarantine/groups", {"window": window}, schema)
    counted = 0
    found: dict[tuple[str, str], Reason] = {}
    for source, reason, events, newest, _ in rows:
        if source is None:
            counted = events
            continue
        name = (source, error_class(reason))
        at = instant_of(newest)
        before = found.get(name, Reason(*name, 0, at))
        found[name] = Reason(*name, before.events + events, max(at, before.newest))
    groups = sorted(found.values(), key=lambda group: (-group.events, group.source, group.reason))
    return Reasons(groups, counted > window)


def quarantine_lines(
    *,
    source: str | None = None,
    reason: str | None = None,
    ids: Sequence[int] | None = None,
    before: int | None = None,
    limit: int = 100,
    schema: str | None,
) -> Exchange[list[EventLine]]:
    """The newest events below the id `before`. reason: a glob for a part of why they lie here."""
    values = {
        "source": source,
        "reason": None if reason is None else f"%{globs.to_like(reason)}%",
        "ids": None if ids is None else list(ids),
        "before": before,
        "limit": limit,
    }
    rows = yield Query("quarantine/lines", values, schema)
    return [EventLine._make((*row[:-1], instant_of(row[-1]))) for row in rows]


def quarantined_octets(id: int, *, limit: int, schema: str | None) -> Exchange[Octets | None]:
    """What an event brought, of its body the first `limit` bytes; None if it is not there."""
    rows = yield Query("quarantine/octets", {"id": id, "limit": limit}, schema)
    for reason, at, key, headers, body in rows:
        pairs = [(name, base64.b64decode(text)) for name, text in _headers.decode(headers)]
        return Octets(reason, None if at is None else instant_of(at), key, pairs, body)
    return None


def quarantine_drop(
    ids: Sequence[int], *, schema: str | None
) -> Exchange[tuple[int, list[Record]]]:
    """Delete events for good; how many were there."""
    rows = yield Query("quarantine/drop", {"ids": list(ids)}, schema)
    records = [
        Record("drop", f"event {id}", {"source": source, "event": event_id, "reason": reason})
        for id, source, event_id, reason in rows
    ]
    return len(records), records
