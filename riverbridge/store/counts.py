"""How many jobs there are, at a cost that does not grow with them.

What is few is counted. Of what is more than that, the planner's statistics say about how many there
are; they are never taken to be below what was counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from riverbridge.model.job import JobState
from riverbridge.store.clock import server_now
from riverbridge.store.exchange import Exchange, Query

COUNT_MAX = 10_000
"""Jobs of a state, or of a queue in a state, that are counted one by one."""

QUEUE_MAX = 20_000
"""Jobs of a queue and state that are counted before they are estimated, for River UI."""

QUEUES_MAX = 1000

ERROR_MAX = 300
"""Characters of an error."""

Accuracy = Literal["exact", "estimated", "lower_bound"]


class Count(msgspec.Struct, frozen=True):
    """How many jobs. accuracy: `estimated` is what the planner expects; of `lower_bound` there are
    more, and nobody knows how many. observed_at: when, or of an estimate when its statistics were
    made; None if that is not told."""

    jobs: int
    accuracy: Accuracy
    observed_at: datetime | None


class QueueCount(NamedTuple):
    """Jobs of a queue. estimated: at least one of the numbers is."""

    available: int
    running: int
    estimated: bool


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


class Discarded(msgspec.Struct, frozen=True):
    """Jobs of a queue and kind that were discarded. last_id, error: of the latest one, and why."""

    queue: str
    kind: str
    jobs: int
    last_id: int
    error: str | None


def state_counts(*, schema: str | None) -> Exchange[dict[JobState, Count]]:
    """The jobs in each of River's states."""
    at = yield from server_now()
    rows = yield Query("job/state_counts", {"limit": COUNT_MAX}, schema)
    analyzed: datetime | None = None
    if any(jobs > COUNT_MAX for _, jobs, _ in rows):
        ((ended,),) = (yield Query("job/analyzed", {}, schema)) or ((None,),)
        analyzed = None if ended is None else ended.astimezone(UTC)
    counts = dict.fromkeys(JobState, Count(0, "exact", at))
    for state, jobs, expected in rows:
        if jobs <= COUNT_MAX:
            counts[JobState(state)] = Count(jobs, "exact", at)
        elif expected is not None and expected > COUNT_MAX:
            counts[JobState(state)] = Count(expected, "estimated", analyzed)
        else:
            counts[JobState(state)] = Count(COUNT_MAX, "lower_bound", at)
    return counts


def queue_summaries(*, schema: str | None) -> Exchange[list[QueueSummary]]:
    """The queues by name, at most 1000: those with a row, and those with jobs to be done."""
    rows = yield Query("queue/summary", {"limit": COUNT_MAX, "queues": QUEUES_MAX}, schema)
    return [_summary(*row) for row in rows]


def discarded_lately(*, seconds: float, schema: str | None) -> Exchange[list[Discarded]]:
    """The jobs discarded in the last `seconds`, the most first; the latest COUNT_MAX of them."""
    values = {"seconds": seconds, "limit": COUNT_MAX, "text": ERROR_MAX}
    rows = yield Query("job/discarded_lately", values, schema)
    return [Discarded(*row) for row in rows]


def queue_counts(names: Sequence[str], *, schema: str | None) -> Exchange[dict[str, QueueCount]]:
    """The available and the running jobs of these queues."""
    values = {"queues": list(dict.fromkeys(names)), "limit": QUEUE_MAX + 1}
    rows = (yield Query("queue/counts", values, schema)) if names else ()
    found: dict[tuple[str, str], int] = {}
    estimated = set()
    for queue, state, jobs in rows:
        if jobs > QUEUE_MAX:
            estimated.add(queue)
            jobs = max(QUEUE_MAX, (yield from _expected(state, queue, schema)))
        found[queue, state] = jobs
    return {
        name: QueueCount(found[name, "available"], found[name, "running"], name in estimated)
        for name in names
    }


def kind_names(
    *, match: str, after: str, exclude: Sequence[str], limit: int, schema: str | None
) -> Exchange[list[str]]:
    """Kinds of jobs after `after` with `match` in them, in any case; but those of `exclude`."""
    return _names("job/kinds", match, after, exclude, limit, schema)


def queue_names(
    *, match: str, after: str, exclude: Sequence[str], limit: int, schema: str | None
) -> Exchange[list[str]]:
    """As `kind_names`, names of queues."""
    return _names("queue/matching", match, after, exclude, limit, schema)


def _summary(
    name: str,
    paused_at: datetime | None,
    created_at: datetime | None,
    updated_at: datetime | None,
    *rest: Any,
) -> QueueSummary:
    *numbers, oldest_seconds = rest
    available, running, retryable, scheduled = (_up_to_max(jobs) for jobs in numbers)
    return QueueSummary(
        name=name,
        known=created_at is not None,
        paused_at=paused_at,
        created_at=created_at,
        updated_at=updated_at,
        available=available,
        running=running,
        retryable=retryable,
        scheduled=scheduled,
        oldest_seconds=oldest_seconds,
    )


def _up_to_max(jobs: int) -> Count:
    """What was counted up to one more than COUNT_MAX."""
    if jobs <= COUNT_MAX:
        return Count(jobs, "exact", None)
    return Count(COUNT_MAX, "lower_bound", None)


def _names(
    query: str, match: str, after: str, exclude: Sequence[str], limit: int, schema: str | None
) -> Exchange[list[str]]:
    values = {"match": match, "after": after, "exclude": list(exclude), "limit": limit}
    return [name for (name,) in (yield Query(query, values, schema))]


def _expected(state: str, queue: str, schema: str | None) -> Exchange[int]:
    ((plan,),) = yield Query("job/estimate", {"state": str(state), "queue": queue}, schema)
    [top] = json.loads(plan) if isinstance(plan, str) else plan
    rows: Any = top["Plan"]["Plan Rows"]
    return int(rows)
