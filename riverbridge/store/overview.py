"""What the overview shows: the history of a stretch of time, in all and of what is busiest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from riverbridge.model.history import Facet, Line, floor
from riverbridge.model.job import JobState
from riverbridge.store.clock import server_now
from riverbridge.store.counts import Count, state_counts
from riverbridge.store.exchange import Exchange
from riverbridge.store.history import LAG, WINDOW, busiest, history

RANGES: Mapping[str, tuple[int, int]] = {
    "15m": (900, 60),
    "1h": (3600, 60),
    "6h": (6 * 3600, 600),
    "24h": (24 * 3600, 600),
    "7d": (7 * 86400, 3600),
}
"""By name, how many seconds it goes back, and in steps of how many."""


class Span(NamedTuple):
    """A stretch of time, as whole steps; the last one is over and written."""

    step: int
    instants: list[datetime]

    @property
    def seconds(self) -> int:
        """How long it is in all."""
        return self.step * len(self.instants)


class Overview(NamedTuple):
    """lines: of all jobs, one for each instant of the span, None where nothing was written. queues,
    kinds, sinks: the busiest, each added up over the span, the busiest first. of_sinks: the lines
    of each sink, as `lines` has those of all."""

    now: datetime
    span: Span
    states: dict[JobState, Count]
    lines: list[Line | None]
    queues: list[Line]
    kinds: list[Line]
    sinks: list[Line]
    of_sinks: dict[str, list[Line | None]]


def span_of(name: str, now: datetime) -> Span:
    """The span of RANGES that ends as lately as it is written."""
    seconds, step = RANGES[name]
    end = floor(now - LAG - WINDOW, step)
    count = seconds // step
    return Span(step, [end - timedelta(seconds=step * (count - n)) for n in range(count)])


def overview(name: str, *, schema: str | None) -> Exchange[Overview]:
    """All that the page of this range shows; it reads no more jobs for a longer range."""
    at = yield from server_now()
    span = span_of(name, at)
    states = yield from state_counts(schema=schema)
    lines = yield from history(
        step=span.step, since=span.instants[0], facet="all", names=[""], schema=schema
    )
    by_instant = {line.at: line for line in lines}
    queues = yield from _busiest(span, "queue", schema)
    kinds = yield from _busiest(span, "kind", schema)
    sinks, each = yield from _lines_of_busiest(span, "sink", schema)
    of_sinks = {}
    for sink in sinks:
        found = {line.at: line for line in each if line.name == sink.name}
        of_sinks[sink.name] = [found.get(at) for at in span.instants]
    in_all = [by_instant.get(at) for at in span.instants]
    return Overview(at, span, states, in_all, queues, kinds, sinks, of_sinks)


def _busiest(span: Span, facet: Facet, schema: str | None) -> Exchange[list[Line]]:
    sums, _ = yield from _lines_of_busiest(span, facet, schema)
    return sums


def _lines_of_busiest(
    span: Span, facet: Facet, schema: str | None
) -> Exchange[tuple[list[Line], list[Line]]]:
    """Each one's lines added up, and the lines."""
    since = span.instants[0]
    names = yield from busiest(step=span.step, since=since, facet=facet, schema=schema)
    lines = yield from history(step=span.step, since=since, facet=facet, names=names, schema=schema)
    lines = [line for line in lines if line.at <= span.instants[-1]]
    return total(names, facet, lines), lines


def total(names: Sequence[str], facet: Facet, lines: Sequence[Line]) -> list[Line]:
    """Each name's lines added up; the backlog is the latest that is known."""
    sums = {name: Line(0, lines[0].at if lines else _NEVER, facet, name) for name in names}
    for line in lines:
        found = sums[line.name]
        found.add(line)
        if line.available is not None:
            found.available, found.oldest = line.available, line.oldest
    return list(sums.values())


_NEVER = datetime.min.replace(tzinfo=UTC)
