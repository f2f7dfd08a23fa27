"""New rows of `river_job`, and the notification that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from riverbridge.model.job import Job, JobState
from riverbridge.model.json_object import read_object
from riverbridge.model.options import InsertResult, NewJob
from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query

CHUNK = 1000
"""Rows of one statement; more at once gain nothing."""


def insert_many(
    jobs: Sequence[NewJob], *, schema: str | None = None
) -> Exchange[list[InsertResult]]:
    """Insert `jobs` and announce their queues, in the transaction that the caller has opened.

    Returns the rows in the order of `jobs`. One notification for each queue with a job to work now;
    scheduled and pending jobs send none (contract 5.3).
    """
    results: list[InsertResult] = []
    for start in range(0, len(jobs), CHUNK):
        rows = yield Query("job/insert", _columns(jobs[start : start + CHUNK]), schema)
        results.extend(InsertResult(_job(row)) for row in rows)
    due = sorted({job.queue for job in jobs if job.state is JobState.AVAILABLE})
    if due:
        yield Query("notify/insert", {"queues": due, "schema": schema}, schema)
    return results


def _columns(jobs: Sequence[NewJob]) -> dict[str, Any]:
    return {
        "kinds": [job.kind for job in jobs],
        "args": [job.args for job in jobs],
        "max_attempts": [job.max_attempts for job in jobs],
        "priorities": [job.priority for job in jobs],
        "queues": [job.queue for job in jobs],
        "states": [job.state.value for job in jobs],
        "scheduled_at": [job.scheduled_at for job in jobs],
        "tags": [",".join(job.tags) for job in jobs],
        "metadata": [job.metadata for job in jobs],
    }


def _job(row: tuple[Any, ...]) -> Job:
    id_, state, attempt, max_attempts, kind, queue, priority, args, metadata, tags, *instants = row
    created_at, scheduled_at = (_utc(instant) for instant in instants)
    return Job(
        id=id_,
        state=JobState(state),
        attempt=attempt,
        max_attempts=max_attempts,
        kind=kind,
        queue=queue,
        priority=priority,
        args=read_object(args),
        metadata=read_object(metadata),
        tags=tags,
        created_at=created_at,
        scheduled_at=scheduled_at,
    )


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC)


def database_now(connection: psycopg.Connection[Any]) -> datetime:
    """The database's clock; every instant of a row is by it."""
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        row = cursor.execute(statement("transaction/now")).fetchone()
    assert row is not None
    instant: datetime = row[0]
    return instant.astimezone(UTC)
