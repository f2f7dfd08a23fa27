"""Jobs worked on a connection of any kind: the statements of a lane, as exchanges.

A lane holds its jobs under row locks and talks to psycopg alone. Here each job is leased before its
function runs, so that the function and whoever looks see the row as River's worker has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from riverbridge.model.job import ClaimedJob, Job
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.store.administration import job_get
from riverbridge.store.exchange import Exchange, Query, Rows
from riverbridge.store.jobs import EVERYTHING, claim_parameters, leased_parameters, leases_of

STATEMENTS = 3
"""What each of these sends at most, but for `settle`: that sends one for each job more."""

BYTES_MAX = 8 << 20
SCHEDULED_MAX = 10_000


def claim(
    *,
    queue: str,
    kinds: Sequence[str],
    aside: Sequence[int],
    limit: int,
    owner: str,
    schema: str | None,
) -> Exchange[list[Lease]]:
    """Make what is due available, then lease the next jobs of `queue`, as a leader and a lane do.

    kinds: LIKE patterns. aside: ids not to take. owner: what goes into attempted_by.
    """
    due = {"look_ahead": timedelta(0), "limit": SCHEDULED_MAX}
    yield Query("job/schedule", due, schema)
    parameters = claim_parameters(
        queue=queue,
        kinds=kinds,
        taken=True,
        floors=[EVERYTHING] * 4,
        aside=aside,
        limit=limit,
        byte_budget=BYTES_MAX,
    )
    rows = yield Query("job/claim", parameters, schema)
    return (yield from _leased(rows, owner, schema))


def take(id: int, *, owner: str, schema: str | None) -> Exchange[Lease | None]:
    """Lease one job, whatever its time; None if it is at work, has ended or is not there."""
    rows = yield Query("job/take", {"id": id}, schema)
    leases = yield from _leased(rows, owner, schema)
    return leases[0] if leases else None


def settle(
    settled: Sequence[tuple[Lease, Settlement]], *, schema: str | None
) -> Exchange[list[Job]]:
    """Settle those leases that still hold; the rows of all, as they stand then.

    Raises JobNotFound for one that was deleted meanwhile.
    """
    yield Query("job/settle_leased", leased_parameters(settled), schema)
    jobs = []
    for lease, _ in settled:
        jobs.append((yield from job_get(lease.job.id, schema=schema)))
    return jobs


def _leased(rows: Rows, owner: str, schema: str | None) -> Exchange[list[Lease]]:
    jobs = [_claimed(*row) for row in rows]
    if not jobs:
        return []
    parameters = {"ids": [job.id for job in jobs], "client": owner}
    return leases_of(jobs, (yield Query("job/lease", parameters, schema)), owner)


def _claimed(*columns: Any) -> ClaimedJob:
    *others, created, due = columns
    return ClaimedJob(*(*others, bytes(created), bytes(due)))  # some drivers give views
