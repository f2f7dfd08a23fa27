"""What became of jobs over time: counts by stretches, and how long jobs waited and ran.

A stretch is kept three times, in steps of a minute, of ten and of an hour, each for as long as
charts of that step go back. Durations are kept as histograms with fixed bounds, which can be added
up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

Facet = Literal["all", "queue", "kind", "sink"]

STEPS: Mapping[int, float] = {60: 2 * 3600.0, 600: 26 * 3600.0, 3600: 8 * 86400.0}
"""The seconds of each step, and for how many seconds it is kept."""

BOUNDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0,
)  # fmt: skip
"""Seconds. A histogram counts what is below the first, between each two, and above the last."""

NAMES_MAX = 200
"""Queues, and kinds, that a stretch tells apart; the others count together, under OTHERS."""

OTHERS = "(others)"


class Finished(NamedTuple):
    """So many jobs of one queue and kind ended alike; wait, run: places in a histogram."""

    queue: str
    kind: str
    state: str
    wait: int | None
    run: int | None
    jobs: int
    failed: int
    """Attempts of theirs that failed and were not counted before."""


class Line(msgspec.Struct):
    """What is known of one name in one stretch.

    wait, run: histograms of the jobs that ended. available, oldest: the most jobs that waited at
    once, and the seconds for which the oldest was due; None where nobody looked. Of a sink,
    completed are the messages that it took and failed those that it did not, at each try; run is
    how long those it took were out.
    """

    step: int
    at: datetime
    facet: Facet
    name: str
    inserted: int = 0
    completed: int = 0
    cancelled: int = 0
    discarded: int = 0
    failed: int = 0
    wait: list[int] = msgspec.field(default_factory=list)
    run: list[int] = msgspec.field(default_factory=list)
    available: int | None = None
    oldest: float | None = None

    def add(self, other: Line) -> None:
        """Count what `other` counts too; the stretch stays this one's."""
        self.inserted += other.inserted
        self.completed += other.completed
        self.cancelled += other.cancelled
        self.discarded += other.discarded
        self.failed += other.failed
        self.wait = _sum(self.wait, other.wait)
        self.run = _sum(self.run, other.run)
        if other.available is not None:
            self.deepen(other.available, other.oldest or 0.0)

    def deepen(self, jobs: int, seconds: float) -> None:
        """The backlog was this once: so many jobs, the oldest due for so long."""
        self.available = max(self.available or 0, jobs)
        self.oldest = max(self.oldest or 0.0, seconds)


class Tally:
    """Collects what is to be added to the history."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, datetime, Facet, str], Line] = {}
        self._names: dict[Facet, set[str]] = {}

    def inserted(self, at: datetime, queue: str, kind: str, jobs: int) -> None:
        for line in self._of(at, queue, kind):
            line.inserted += jobs

    def failed(self, at: datetime, queue: str, kind: str, attempts: int) -> None:
        for line in self._of(at, queue, kind):
            line.failed += attempts

    def finished(self, at: datetime, what: Finished) -> None:
        for line in self._of(at, what.queue, what.kind):
            if what.state == "completed":
                line.completed += what.jobs
            elif what.state == "discarded":
                line.discarded += what.jobs
            else:
                line.cancelled += what.jobs
            line.failed += what.failed
            line.wait = _count(line.wait, what.wait, what.jobs)
            line.run = _count(line.run, what.run, what.jobs)

    def answered(
        self, at: datetime, sink: str, delivered: int, failed: int, took: Sequence[int]
    ) -> None:
        """So many messages were delivered by a sink or not. took: the histogram of the former."""
        for step in STEPS:
            line = self._line(step, at, "sink", sink)
            line.completed += delivered
            line.failed += failed
            line.run = _sum(line.run, took)

    def backlog(self, at: datetime, depths: Mapping[str, tuple[int, float]]) -> None:
        """depths: by queue, how many jobs wait and for how many seconds the oldest is due."""
        total = sum(jobs for jobs, _ in depths.values())
        oldest = max((seconds for _, seconds in depths.values()), default=0.0)
        for step in STEPS:
            self._line(step, at, "all", "").deepen(total, oldest)
            for queue, (jobs, seconds) in depths.items():
                self._line(step, at, "queue", queue).deepen(jobs, seconds)

    def lines(self) -> list[Line]:
        """All of it, in an order that does not depend on how it came: nobody waits in a circle."""
        return [self._lines[key] for key in sorted(self._lines)]

    def _of(self, at: datetime, queue: str, kind: str) -> Iterable[Line]:
        for step in STEPS:
            yield self._line(step, at, "all", "")
            yield self._line(step, at, "queue", queue)
            yield self._line(step, at, "kind", kind)

    def _line(self, step: int, at: datetime, facet: Facet, name: str) -> Line:
        names = self._names.setdefault(facet, set())
        if name not in names:
            if len(names) >= NAMES_MAX:
                name = OTHERS
            names.add(name)
        begin = floor(at, step)
        key = (step, begin, facet, name)
        if key not in self._lines:
            self._lines[key] = Line(step, begin, facet, name)
        return self._lines[key]


def floor(at: datetime, step: int) -> datetime:
    """The begin of the stretch of `step` seconds that `at` is in."""
    return datetime.fromtimestamp(at.timestamp() // step * step, UTC)


def quantile(histogram: Sequence[int], share: float) -> float | None:
    """The seconds that `share` of the jobs stayed within, about; None without jobs.

    Between two bounds it is taken as if the jobs lay evenly; above the last it is the last.
    """
    total = sum(histogram)
    if not total:
        return None
    wanted, below = share * total, 0
    for place, jobs in enumerate(histogram):
        if jobs and below + jobs >= wanted:
            low = BOUNDS[place - 1] if place else 0.0
            high = BOUNDS[min(place, len(BOUNDS) - 1)]
            return low + (high - low) * (wanted - below) / jobs
        below += jobs
    return BOUNDS[-1]


def place_of(seconds: float) -> int:
    """Where a duration counts in a histogram, as Postgres' width_bucket has it."""
    return bisect_right(BOUNDS, seconds)


def _count(histogram: list[int], place: int | None, jobs: int) -> list[int]:
    if place is None:
        return histogram
    histogram = histogram or [0] * (len(BOUNDS) + 1)
    histogram[place] += jobs
    return histogram


def _sum(one: Sequence[int], other: Sequence[int]) -> list[int]:
    if not one or not other:
        return list(one or other)
    return [a + b for a, b in zip(one, other, strict=True)]
