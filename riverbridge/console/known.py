"""What the process that serves the console knows of its own database, the first of those shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.requests import Request

from riverbridge.console.ground import Ground
from riverbridge.model.replay import ReplayRoute
from riverbridge.store.database import Connection

KNOWN = "known"
"""Its name in `Ground.extra`."""


class SinkNow(NamedTuple):
    """A sink in service. breaker: its state; reason: what opened or paused it, open_for: how many
    seconds ago. busy: batches that are out, of `most`."""

    breaker: str
    reason: str
    open_for: float
    busy: int
    most: int


class SourceNow(NamedTuple):
    """A source in service. problem: why it cannot go on, or None. lag: about how many events wait
    for it, None where that is not known."""

    problem: str | None
    lag: int | None


Told = Callable[[Connection, str | None], None]
"""Called in the transaction of a retry, with why the event stays, or None: it is a job."""

Retry = Callable[[Connection, str, int, Told], str | None]
"""Makes a job of an event in quarantine, by its source and id; why it stays, or None."""


@dataclass(frozen=True)
class Known:
    """routes: of the settings. sinks, sources: their kinds, by name. sinks_now, sources_now:
    those in service. retries: makes what retries events; it may take a moment."""

    routes: Sequence[ReplayRoute] = ()
    sinks: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    sinks_now: Callable[[], Mapping[str, SinkNow]] = dict
    sources_now: Callable[[], Mapping[str, SourceNow]] = dict
    retries: Callable[[], Retry] | None = None


def known(request: Request, ground: Ground) -> Known:
    """What it knows of the database of this request: of others than its own, nothing."""
    own = next(iter(ground.databases.values()))
    found: Known | None = ground.extra.get(KNOWN)
    return found if found is not None and ground.database(request) is own else Known()
