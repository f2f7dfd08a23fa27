"""When durable periodic jobs run next: our own table `riverbridge_periodic_job`.

A row is read under its lock and advanced in the transaction that inserts the job. So of two leaders
at once one makes the run, and a run that was not committed is made by the next. The functions run
in the caller's transaction and raise what psycopg raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import psycopg

from riverbridge.errors import PeriodicJobNotFound
from riverbridge.model.schedule import LATE
from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import instant_of

LISTED = 500
"""Rows that are listed at most."""

FORGOTTEN = timedelta(hours=2)
"""After which a row that nobody wrote is nobody's: who knows its job writes it hourly."""

Standing = Literal["paused", "unknown", "late", "waits"]


class NextRun(NamedTuple):
    """The next run of the job `id`; `schedule` is the fingerprint of the schedule that gave it."""

    id: str
    schedule: str
    next_run_at: datetime


class StoredRun(NamedTuple):
    """A row, locked. stale: not written for an hour, though its job is still known. asked: somebody
    wants a run at once."""

    run: NextRun
    stale: bool
    paused: bool = False
    asked: bool = False


class KeptRun(NamedTuple):
    """A row as people see it. asked_at: since when a run at once is waited for."""

    id: str
    schedule: str
    next_run_at: datetime
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    asked_at: datetime | None

    def standing(self, now: datetime) -> Standing:
        """What somebody on call wants to know of it. unknown: no leader has its job any more."""
        if self.paused_at is not None:
            return "paused"
        if now - self.updated_at > FORGOTTEN and self.next_run_at < now:
            return "unknown"
        return "late" if now - self.next_run_at > LATE else "waits"


def periodic_jobs(*, schema: str | None, id: str | None = None) -> Exchange[list[KeptRun]]:
    """The first LISTED rows, by what runs next; or the one of `id`, if it is there."""
    rows = yield Query("periodic/list", {"limit": LISTED, "id": id}, schema)
    return [_kept(*row) for row in rows]


def _kept(
    id: str, made: str, next_run: str, created: str, updated: str, paused: str | None,
    asked: str | None,
) -> KeptRun:  # fmt: skip
    written = [instant_of(text) for text in (next_run, created, updated)]
    return KeptRun(id, made, *written, *[text and instant_of(text) for text in (paused, asked)])


def periodic_job(id: str, *, schema: str | None) -> Exchange[KeptRun]:
    """The row. Raises PeriodicJobNotFound."""
    found = yield from periodic_jobs(schema=schema, id=id)
    if not found:
        raise _not_there(id)
    return found[0]


def periodic_change(
    id: str, change: Literal["ask", "pause", "resume"], *, schema: str | None
) -> Exchange[None]:
    """Have it run once, at once, paused or not; or make no other runs until it goes on. The leader
    sees it within `LOOK` of the enqueuer. Raises PeriodicJobNotFound."""
    if not (yield Query(f"periodic/{change}", {"id": id}, schema)):
        raise _not_there(id)


def _not_there(id: str) -> PeriodicJobNotFound:
    return PeriodicJobNotFound(
        f"there is no periodic job {id!r} here: only durable ones have a row, once a leader has "
        "seen them; see `riverbridge periodic list`"
    )


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
        StoredRun(NextRun(id_, schedule, next_run_at.replace(tzinfo=UTC)), *flags)
        for id_, schedule, next_run_at, *flags in cursor.fetchall()
    ]


def advance(
    conn: psycopg.Connection, runs: Sequence[NextRun], *, schema: str | None = None
) -> None:
    """Write the next runs of rows that this transaction has locked; what was asked is done."""
    conn.execute(statement("periodic/advance", schema), _columns(runs))


def asked(conn: psycopg.Connection, ids: Sequence[str], *, schema: str | None = None) -> set[str]:
    """Those of `ids` that somebody wants to run at once."""
    rows = conn.execute(statement("periodic/asked", schema), {"ids": list(ids)}).fetchall()
    return {id_ for (id_,) in rows}


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
