"""Settings in, parts out: the sources, and how what they receive becomes jobs."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.settings import Settings, SourceSettings
from riverbridge.sources.base import Bounds
from riverbridge.store.database import Connect

INBOX = 7 * 24 * 3600.0
"""Seconds that the inbox remembers the events of a source without a position."""


def make_receivers(settings: Settings, connect: Connect) -> dict[str, Receiver]:
    """The loops of the sources, by name."""
    return {
        name: Receiver(
            name,
            partial(source.open, name),
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
        decoding=source.decode,
        tombstones=source.tombstones,
    )
    remember = source.remember
    if remember is None:
        remember = 0.0 if source.positioned else INBOX
    return Intake(
        Mapper(name, plan),
        Bounds(source.batch_size, source.batch_bytes),
        remember=timedelta(seconds=remember) if remember else None,
        pause_above=source.pause_above,
    )
