"""When durable periodic jobs run next: our own table `riverbridge_periodic_job`.

A row is read under its lock and advanced in the transaction that inserts the job. So of two leaders
at once one makes the run, and a run that was not committed is made by the next. The functions run
in the caller's transaction and raise what psycopg raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import instant_of

LISTED = 500
"""Rows that are listed at most."""


class NextRun(NamedTuple):
    """The next run of the job `id`; `schedule` is the fingerprint of the schedule that gave it."""

    id: str
    schedule: str
    next_run_at: datetime


class StoredRun(NamedTuple):
    """A row, locked. stale: not written for an hour, though its job is still known."""

    run: NextRun
    stale: bool


class KeptRun(NamedTuple):
    """A row as people see it."""

    id: str
    schedule: str
    next_run_at: datetime
    created_at: datetime
    updated_at: datetime


def periodic_jobs(*, schema: str | None) -> Exchange[list[KeptRun]]:
    """The first LISTED rows, by what runs next."""
    rows = yield Query("periodic/list", {"limit": LISTED}, schema)
    return [KeptRun(id_, made, *map(instant_of, instants)) for id_, made, *instants in rows]


def create(
    conn: psycopg.Connection, runs: Sequence[NextRun], *, schema: str | None = None
) -> set[str]:
    """Store the runs of jobs that were not there; the ids of those."""
    rows = conn.execute(statement("periodic/create", schema), _columns(runs)).fetchall()
    return {id_ for (id_,) in rows}


def lock(
    conn: psycopg.Connection, ids: Sequence[str], *, schema: str | None = None
) -> list[StoredRun]:
    """The rows of `ids`, locked until the transaction ends; not those that others have locked."""
    # Binary, so that instants come back to the microsecond whatever the DateStyle.
    cursor = conn.cursor(binary=True).execute(
        statement("periodic/lock", schema), {"ids": list(ids)}
    )
    return [
        StoredRun(NextRun(id_, schedule, next_run_at.replace(tzinfo=UTC)), stale)
        for id_, schedule, next_run_at, stale in cursor.fetchall()
    ]


def advance(
    conn: psycopg.Connection, runs: Sequence[NextRun], *, schema: str | None = None
) -> None:
    """Write the next runs of rows that this transaction has locked."""
    conn.execute(statement("periodic/advance", schema), _columns(runs))


def prune(
    conn: psycopg.Connection, *, known: Sequence[str], keep: timedelta, schema: str | None = None
) -> list[str]:
    """Forget the jobs, but for those `known`, whose rows were not written for `keep`; their ids."""
    values = {"known": list(known), "keep": keep}
    rows = conn.execute(statement("periodic/prune", schema), values).fetchall()
    return [id_ for (id_,) in rows]


def _columns(runs: Sequence[NextRun]) -> dict[str, Any]:
    return {
        "ids": [run.id for run in runs],
        "schedules": [run.schedule for run in runs],
        "next_runs": [run.next_run_at for run in runs],
    }
