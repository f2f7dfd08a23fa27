"""What River's own leader does to stuck jobs, queues and periodic jobs, and what ours does."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.engine.keeper import Keeper
from riverbridge.engine.settling import Aside
from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertManyParams, InsertOpts
from riverbridge.model.schedule import PeriodicInterval
from riverbridge.store.database import connector
from riverbridge.store.jobs import JobTable
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.enqueuer import PeriodicEnqueuer
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
from riverbridge.upkeep.queue_cleaner import QueueCleaner
from riverbridge.upkeep.rescuer import Rescuer
from tests.interop.conftest import COPY
from tests.interop.upkeep.conftest import Oracle
from tests.support.database import Database
from tests.support.jobs import feed
from tests.support.running import running
from tests.support.wait import eventually
from tests.upkeep.periodical import insert

pytestmark = pytest.mark.go

STUCK = """
INSERT INTO ours.river_job (state, kind, args, queue, attempt, max_attempts, attempted_at,
    attempted_by, scheduled_at, errors, metadata)
VALUES ('running', %s, '{}', 'stuck', %s, 3, now() - %s::interval, '{gone}',
    now() - interval '5 hours', %s::text[]::jsonb[], %s::jsonb)
"""
ERROR = '{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "x", "trace": ""}'
METADATA = (
    "{}",
    '{"mine": 1, "river:rescue_count": 2}',
    '{"river:rescue_count": "x"}',
    '{"cancel_attempted_at": "2026-01-01T00:00:00.123Z"}',
    '{"cancel_attempted_at": null}',
    '{"cancel_attempted_at": "0001-01-01T00:00:00Z"}',
)
TIMEOUTS: dict[str, float | None] = {"twin": 60.0, "patient": 10_800.0, "endless": None}
QUEUES = """
INSERT INTO {schema}.river_queue (name, paused_at, updated_at) VALUES
    ('fresh', NULL, now() - interval '23 hours'), ('old', NULL, now() - interval '25 hours'),
    ('paused', now(), now() - interval '30 days')
"""
COLUMNS = (
    "id, kind, state::text, attempt, max_attempts, attempted_at, attempted_by, priority, args,"
    " metadata, queue, tags, unique_key, errors, finalized_at, scheduled_at, now()"
)


@pytest.fixture
def conn(twins: Database) -> Iterator[psycopg.Connection]:
    with twins.connect() as connection:
        yield connection


def fill(conn: psycopg.Connection) -> None:
    for kind, attempt, hours, metadata in itertools.product(
        (*TIMEOUTS, "stranger"), (1, 3), (0.9, 2, 4), METADATA
    ):
        errors = [ERROR] * (attempt - 1) or None
        conn.execute(STUCK, (kind, attempt, timedelta(hours=hours), errors, metadata))
    conn.execute(COPY)
    conn.execute("SELECT setval('rivers.river_job_id_seq', (SELECT max(id) FROM ours.river_job))")
    for schema in ("ours", "rivers"):
        conn.execute(QUEUES.format(schema=schema).encode())


class Hour:
    def delay(self, failures: int) -> float:
        return 3600.0


@contextmanager
def kept(dsn: str, queue: str) -> Iterator[None]:
    """A keeper of ours at work on that queue."""
    keeper = Keeper(
        connect=connector(dsn), jobs=JobTable("ours", "riverbridge_me"),
        processes=ProcessTable("ours", id="riverbridge_me", host="h", pid=1, version="0"),
        queues=QueueTable("ours"), feeds=[feed(queue=queue, retry=Hour())], wakers=[],
        aside=Aside(),
    )  # fmt: skip
    with running(keeper):
        yield


class maintained:
    """River's leader at work until `done`."""

    def __init__(self, oracle: Oracle, done: Callable[[], bool]) -> None:
        self._oracle = oracle
        self._done = done

    def __enter__(self) -> None:
        self._process: subprocess.Popen[bytes] = self._oracle.start("maintain", "rivers", "go")

    def __exit__(self, *_: object) -> None:
        try:
            eventually(self._done)
            self._process.communicate(timeout=20)  # its standard input ends
        finally:
            self._process.kill()
            self._process.communicate()


def settled(conn: psycopg.Connection) -> bool:
    row = conn.execute(
        "SELECT (SELECT count(*) FROM rivers.river_job WHERE kind IN ('twin', 'stranger')"
        " AND state = 'running' AND attempted_at < now() - interval '1 hour'),"
        " (SELECT count(*) FROM rivers.river_job WHERE queue = 'periodic'),"
        " (SELECT count(*) FROM rivers.river_queue WHERE name IN ('old', 'paused'))"
    ).fetchone()
    return row == (0, 1, 0)


def duties() -> list[Duty]:
    opts = InsertOpts(metadata={"mine": 1}, queue="periodic", priority=2)
    nightly = PeriodicJob(
        PeriodicInterval(timedelta(hours=24)),
        lambda: InsertManyParams(RawArgs("twin", "{}"), opts),
        id="nightly.twin",
        run_on_start=True,
    )
    return [
        Rescuer(
            kinds=TIMEOUTS, retry=lambda job: 3600.0, timeout=lambda job: TIMEOUTS[job.kind],
            schema="ours",
        ),
        QueueCleaner(schema="ours"),
        PeriodicEnqueuer(
            PeriodicJobs([nightly]),
            lambda conn, jobs: insert(conn, jobs, schema="ours"),
            schema="ours",
        ),
    ]  # fmt: skip


def seen(conn: psycopg.Connection, schema: str, where: str) -> list[dict[str, Any]]:
    """Rows without what depends on the moment: instants of now are named as such."""
    cursor = conn.execute(
        f"SELECT {COLUMNS} FROM {schema}.river_job WHERE {where} ORDER BY id".encode()
    )
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    found = []
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        now = row.pop("now")
        for column in ("finalized_at", "scheduled_at"):
            row[column] = moment(row[column], now)
        for error in row["errors"] or []:
            error["at"] = moment(datetime.fromisoformat(error["at"]), now)
        found.append(row)
    return found


def moment(at: datetime | None, now: datetime) -> object:
    for name, then in (("now", now), ("in an hour", now + timedelta(hours=1))):
        if at is not None and abs(at - then) < timedelta(minutes=1):
            return name
    return at


@pytest.mark.transition("T15", "T16", "T17")
def test_a_leader_leaves_what_rivers_leaves(oracle: Oracle, conn: psycopg.Connection) -> None:
    fill(conn)
    with maintained(oracle, lambda: settled(conn)):
        for duty in duties():
            duty.begin()
            duty.step(conn, 10)

    for where in ("queue = 'stuck' AND kind <> 'stranger'", "queue = 'periodic'"):
        ours, rivers = seen(conn, "ours", where), seen(conn, "rivers", where)
        for row in ours + rivers:
            if where == "queue = 'periodic'":
                row.pop("id")
        assert ours == rivers
    stuck = {row["state"] for row in seen(conn, "ours", "queue = 'stuck'")}
    assert stuck == {"running", "retryable", "discarded", "cancelled"}
    (periodic,) = seen(conn, "ours", "queue = 'periodic'")
    assert (periodic["state"], periodic["scheduled_at"]) == ("available", "now")

    # A kind that is not known: River discards it, we leave it alone unless it is to be cancelled.
    known = {schema: {row["state"] for row in seen(conn, schema, "kind = 'stranger'")}
             for schema in ("ours", "rivers")}  # fmt: skip
    assert known == {
        "ours": {"running", "cancelled"},
        "rivers": {"running", "cancelled", "discarded"},
    }

    queues = {
        schema: {
            name for (name,) in conn.execute(f"SELECT name FROM {schema}.river_queue".encode())
        }
        for schema in ("ours", "rivers")
    }
    assert queues == {"ours": {"fresh"}, "rivers": {"fresh", "idle"}}


DEAD = """
INSERT INTO ours.riverbridge_process (id, host, pid, version, queues, heartbeat_at)
VALUES ('gone', 'h', 1, '0', '{stuck}', now() - interval '1 hour')
"""
REASON = "the process gone died with this job in delivery"


@pytest.mark.transition("T15", "T16", "T17")
def test_what_a_dead_process_held_is_left_as_rivers_rescuer_leaves_it(
    twins: Database, oracle: Oracle, conn: psycopg.Connection
) -> None:
    """But for the error, which says what happened, and when the attempt began that was lost."""
    marks = METADATA[:4]  # null and Go's zero time count as marks for who settles (T24)
    for attempt, metadata in itertools.product((1, 2, 3), marks):
        errors = [ERROR] * (attempt - 1) or None
        conn.execute(STUCK, ("twin", attempt, timedelta(hours=2), errors, metadata))
    conn.execute(COPY)
    conn.execute("SELECT setval('rivers.river_job_id_seq', 1000)")
    began = conn.execute("SELECT now() - interval '2 hours'").fetchone()
    assert began is not None
    conn.execute(DEAD)
    running = "SELECT count(*) FROM {}.river_job WHERE state = 'running'"
    with (
        maintained(oracle, lambda: settled(conn)),
        kept(twins.dsn, "stuck"),
    ):
        eventually(lambda: conn.execute(running.format("ours").encode()).fetchone() == (0,))
    ours, rivers = (seen(conn, schema, "queue = 'stuck'") for schema in ("ours", "rivers"))
    for our, their in zip(ours, rivers, strict=True):
        new, theirs = our["errors"].pop(), their["errors"].pop()
        assert abs(new.pop("at") - began[0]) < timedelta(minutes=1)
        assert theirs.pop("at") == "now"
        assert (new.pop("error"), theirs.pop("error")) == (
            REASON,
            "Stuck job rescued by JobRescuer",
        )
        assert new == theirs
        assert our == their
    assert {row["state"] for row in ours} == {"retryable", "discarded", "cancelled"}
