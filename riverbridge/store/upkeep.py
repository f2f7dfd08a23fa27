"""What the leader does to `river_job`, `river_queue` and our own tables, a batch at a time.

Each statement is guarded and may be repeated, by two leaders at once too. The functions run in the
caller's transaction and raise what psycopg raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
import psycopg

from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.sql import statement

# The state that usually has the most rows comes last, so that it cannot starve the others.
_CLEANED = (JobState.CANCELLED, JobState.DISCARDED, JobState.COMPLETED)

Pruned = Literal["audit", "inbox", "operation", "receipt"]
"""A table of ours whose old rows are deleted."""

_PRUNE: Mapping[Pruned, str] = {
    "audit": "audit/prune",
    "inbox": "inbox/prune",
    "operation": "operation/prune",
    "receipt": "receipt/prune",
}


class Scheduled(NamedTuple):
    """What one batch did.

    jobs: rows moved, discarded ones included.
    conflicts: ids discarded because another job holds their unique key.
    due: queues with jobs that may be claimed now.
    """

    jobs: int
    conflicts: Sequence[int]
    due: Sequence[str]


def schedule(
    conn: psycopg.Connection, *, look_ahead: timedelta, limit: int, schema: str | None = None
) -> Scheduled:
    """Make jobs available that are due by now + `look_ahead` (contract 3.8).

    A job whose unique key another holds is discarded, with `unique_key_conflict` in its metadata.
    Fewer than `limit` jobs mean that no more are due, but for rows that others have locked.
    """
    values = {"look_ahead": look_ahead, "limit": limit}
    row = conn.cursor(binary=True).execute(statement("job/schedule", schema), values).fetchone()
    assert row is not None
    return Scheduled(*row)


def announce(conn: psycopg.Connection, queues: Sequence[str], *, schema: str | None = None) -> None:
    """Tell River's clients at commit that `queues` have jobs to claim (contract 5.2)."""
    values = {"queues": list(queues), "schema": schema or None}
    conn.execute(statement("notify/insert"), values)


def clean(
    conn: psycopg.Connection,
    *,
    keep: Mapping[JobState, timedelta],
    limit: int,
    schema: str | None = None,
) -> int:
    """Delete up to `limit` jobs finalized longer ago than `keep` says; how many it were.

    A state that `keep` does not name stays for ever. Unlike River, which goes by id, the oldest of
    a state go first; what is left in the end is the same (contract 3.10).
    """
    states = [state for state in _CLEANED if state in keep]
    if not states:
        return 0
    values = {
        "states": [state.value for state in states],
        "keep": [keep[state] for state in states],
        "limit": limit,
    }
    return conn.execute(statement("job/clean", schema), values).rowcount


class StuckJob(NamedTuple):
    """A job whose attempt began long ago.

    job: as it was claimed for that attempt. running: seconds since the attempt began, by the
    database's clock. cancel_marked: somebody asked for it to be cancelled while it ran.
    """

    job: ClaimedJob
    attempt: int
    attempted_at: datetime
    running: float
    cancel_marked: bool


class Rescue(NamedTuple):
    """What becomes of a stuck job; delay: seconds until a retry, 0 for the other states."""

    stuck: StuckJob
    state: JobState
    delay: float = 0.0


def stuck(
    conn: psycopg.Connection,
    *,
    after_id: int,
    after: timedelta,
    limit: int,
    schema: str | None = None,
) -> list[StuckJob]:
    """Up to `limit` jobs above `after_id` that have run for longer than `after`, by id."""
    values = {"after_id": after_id, "after": after, "limit": limit}
    # Binary, so that attempted_at comes back to the microsecond whatever the DateStyle.
    cursor = conn.cursor(binary=True).execute(statement("job/stuck", schema), values)
    found = []
    for *columns, attempted_at, running, cancel_marked in cursor.fetchall():
        job = ClaimedJob(*columns)
        before = msgspec.structs.replace(job, attempt=job.attempt - 1)
        found.append(StuckJob(before, job.attempt, attempted_at, running, cancel_marked))
    return found


def rescue(
    conn: psycopg.Connection, rescues: Sequence[Rescue], *, schema: str | None = None
) -> set[int]:
    """Settle the jobs that are still the attempt that was found; their ids (contract 3.9)."""
    values = {
        "ids": [each.stuck.job.id for each in rescues],
        "attempts": [each.stuck.attempt for each in rescues],
        "attempted_at": [each.stuck.attempted_at for each in rescues],
        "states": [each.state.value for each in rescues],
        "delays": [float(each.delay) for each in rescues],
    }
    rows = conn.execute(statement("job/rescue", schema), values).fetchall()
    return {id_ for (id_,) in rows}


def clean_queues(
    conn: psycopg.Connection, *, keep: timedelta, limit: int, schema: str | None = None
) -> list[str]:
    """Delete up to `limit` queues that nobody has reported for `keep`; their names."""
    values = {"keep": keep, "limit": limit}
    rows = conn.execute(statement("queue/clean", schema), values).fetchall()
    return [name for (name,) in rows]


def prune(
    conn: psycopg.Connection,
    table: Pruned,
    *,
    keep: timedelta | None,
    limit: int,
    schema: str | None = None,
) -> int:
    """Delete up to `limit` rows of our own `table` that are older than `keep`; how many it were.

    Of the inbox, those that have expired, whatever `keep` says.
    """
    values = {"keep": keep, "limit": limit}
    return conn.execute(statement(_PRUNE[table], schema), values).rowcount
