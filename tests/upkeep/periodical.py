"""Periodic jobs on a clock of the test's own, and a look at what was inserted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertResult, NewJob
from riverbridge.model.schedule import Missed, Schedule
from riverbridge.store.exchange import carry_out
from riverbridge.store.insert import insert_many, to_announce
from riverbridge.upkeep.enqueuer import PeriodicEnqueuer
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Wall:
    """The clock on the wall of the database; it moves only when it is put forward."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self, conn: psycopg.Connection) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def insert(
    conn: psycopg.Connection, jobs: Sequence[NewJob], schema: str | None = None
) -> Sequence[InsertResult]:
    """Insert and announce, as a client would."""
    exchange = insert_many(jobs, queues=to_announce(jobs), schema=schema)
    return carry_out(exchange, lambda query: send(conn, query))


def job(schedule: Schedule, kind: str = "tick", **options: Any) -> PeriodicJob:
    """A periodic job whose jobs have no arguments."""
    return PeriodicJob(schedule, lambda: RawArgs(kind, "{}"), **options)


def durable(schedule: Schedule, id_: str = "tick", missed: Missed = "run_once") -> PeriodicJob:
    return job(schedule, id_, id=id_, durable=True, missed=missed)


def leader(
    wall: Wall,
    *jobs: PeriodicJob,
    insert: Callable[[psycopg.Connection, Sequence[NewJob]], object] = insert,
) -> PeriodicEnqueuer:
    """The enqueuer of a leader whose term begins."""
    enqueuer = PeriodicEnqueuer(PeriodicJobs(jobs), insert, now=wall)
    enqueuer.begin()
    return enqueuer


def made(conn: psycopg.Connection, kind: str = "tick") -> list[float]:
    """The runs that were inserted, as seconds after `START`."""
    rows = conn.execute(
        "SELECT scheduled_at FROM river_job WHERE kind = %s ORDER BY scheduled_at", (kind,)
    )
    return [(at - START) / SECOND for (at,) in rows.fetchall()]


def errors(records: Sequence[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno >= logging.ERROR]
