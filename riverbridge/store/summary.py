"""How much there is of what: counts that cost little however large the tables are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from riverbridge.model.job import JobState
from riverbridge.store.exchange import Exchange, Query

COUNT_MAX = 10_000
"""Jobs that are counted one by one; above, a count is an estimate."""

QUEUES_MAX = 1000


class Count(msgspec.Struct, frozen=True):
    """How many. exact: counted, not estimated; at_least: there are more, nobody knows how many."""

    jobs: int
    exact: bool = True
    at_least: bool = False


class QueueSummary(msgspec.Struct, frozen=True):
    """A queue. known: it has a row in river_queue, as workers ask for its jobs. oldest_seconds: for
    how long its first job has been due, or None if none is."""

    name: str
    known: bool
    paused_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    available: Count
    running: Count
    retryable: Count
    scheduled: Count
    oldest_seconds: float | None


def state_counts(*, schema: str | None) -> Exchange[dict[JobState, Count]]:
    """The jobs of each state."""
    rows = yield Query("job/state_counts", {"limit": COUNT_MAX}, schema)
    return {JobState(state): _count(jobs, estimate) for state, jobs, estimate in rows}


def queue_summaries(*, schema: str | None) -> Exchange[list[QueueSummary]]:
    """The queues by name, at most 1000: those with a row, and those with jobs to be done."""
    rows = yield Query("queue/summary", {"limit": COUNT_MAX, "queues": QUEUES_MAX}, schema)
    return [_summary(*row) for row in rows]


def _summary(
    name: str,
    paused_at: datetime | None,
    created_at: datetime | None,
    updated_at: datetime | None,
    *rest: Any,
) -> QueueSummary:
    available, running, retryable, scheduled, oldest_seconds = rest
    return QueueSummary(
        name=name,
        known=created_at is not None,
        paused_at=paused_at,
        created_at=created_at,
        updated_at=updated_at,
        available=_count(available, None),
        running=_count(running, None),
        retryable=_count(retryable, None),
        scheduled=_count(scheduled, None),
        oldest_seconds=oldest_seconds,
    )


def _count(jobs: int, estimate: int | None) -> Count:
    if jobs <= COUNT_MAX:
        return Count(jobs)
    if estimate is None or estimate <= COUNT_MAX:
        return Count(COUNT_MAX, exact=False, at_least=True)
    return Count(estimate, exact=False)
