"""How many jobs there are, at a cost that does not grow with them.

What is few is counted. Of what is more than that, the planner's statistics say about how many there
are; they are never taken to be below what was counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from riverbridge.model.job import JobState
from riverbridge.store.exchange import Exchange, Query

STATE_MAX = 10_000
"""Jobs of a state that are counted."""

QUEUE_MAX = 20_000
"""Jobs of a queue and state that are counted."""

Accuracy = Literal["exact", "estimated", "lower_bound"]


class Count(NamedTuple):
    """observed_at: of an estimate, when its statistics were made; None if nobody knows."""

    jobs: int
    accuracy: Accuracy
    observed_at: datetime | None


class QueueCount(NamedTuple):
    """Jobs of a queue. estimated: at least one of the numbers is."""

    available: int
    running: int
    estimated: bool


def state_counts(*, schema: str | None) -> Exchange[dict[JobState, Count]]:
    """The jobs in each of River's states."""
    ((now,),) = yield Query("transaction/now")
    rows = yield Query("job/state_counts", {"limit": STATE_MAX}, schema)
    analyzed: datetime | None = None
    if any(jobs > STATE_MAX for _, jobs, _ in rows):
        ((at,),) = (yield Query("job/analyzed", {}, schema)) or ((None,),)
        analyzed = None if at is None else at.astimezone(UTC)
    counts = dict.fromkeys(JobState, Count(0, "exact", now.astimezone(UTC)))
    for state, jobs, expected in rows:
        if jobs <= STATE_MAX:
            counts[JobState(state)] = Count(jobs, "exact", now.astimezone(UTC))
        elif expected is not None and expected > STATE_MAX:
            counts[JobState(state)] = Count(expected, "estimated", analyzed)
        else:
            counts[JobState(state)] = Count(STATE_MAX, "lower_bound", now.astimezone(UTC))
    return counts


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
