"""Settings in, parts out: the sources, and how what they receive becomes jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.console.hooks import Door, Pace
from riverbridge.settings import Settings, SourceSettings
from riverbridge.settings.sources import WebhookSource
from riverbridge.sources.base import Bounds, Source
from riverbridge.store.database import Connect

INBOX = 7 * 24 * 3600.0
"""Seconds that the inbox remembers the events of a source without a position."""
FETCHED = 64 << 20
"""Bytes that the fetched bodies of a batch may have, and so how many events it may hold."""


def make_receivers(
    settings: Settings, connect: Connect, opening: Mapping[str, Callable[[], Source]]
) -> dict[str, Receiver]:
    """The loops of the sources, by name. opening: how those are opened that are there already."""
    return {
        name: Receiver(
            name,
            opening.get(name) or partial(source.open, name),
            make_intake(name, source),
            connect=connect,
            schema=settings.db_schema,
        )
        for name, source in settings.sources.items()
    }


def make_intake(name: str, source: SourceSettings) -> Intake:
    """How the events of one source become jobs."""
    plan = Plan(
        kind=source.kind,
        queue=source.queue,
        priority=source.priority,
        max_attempts=source.max_attempts,
        scheduled_at=source.scheduled_at,
        tags=(*(source.tags or ()), *source.marks),
        metadata=source.metadata,
        identity=source.identity,
        own_ids=source.own_ids,
        decoding=source.decode,
        tombstones=source.tombstones,
        only=source.filter,
        unwrap=source.envelopes,
        split=source.split,
    )
    fetch = source.fetch.open()
    count = source.batch_size
    if fetch is not None:
        count = min(count, max(1, FETCHED // source.fetch.limit))
    remember = source.remember
    if remember is None:
        remember = 0.0 if source.positioned else INBOX
    return Intake(
        Mapper(name, plan, fetch),
        Bounds(count, source.batch_bytes),
        remember=timedelta(seconds=remember) if remember else None,
        pause_above=source.pause_above,
    )


def make_doors(settings: Settings) -> dict[str, Door]:
    """The doors of all webhook sources, by name."""
    return {
        name: Door(
            name,
            source.verifier(),
            source.open(name),
            json=source.decode == "json",
            pace=Pace(source.rate),
        )
        for name, source in settings.sources.items()
        if isinstance(source, WebhookSource)
    }
