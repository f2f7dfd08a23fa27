"""What a claim leaves in the rows it takes, as River's fetch does; and that nothing of ours, as
nothing of River's, touches a job that is pending."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from riverbridge import PoolOptions, QueueConfig, RawArgs, RunningJob, WorkerPool, Workers
from riverbridge.engine.batch import Feed
from riverbridge.engine.lane import Lane, Limits
from riverbridge.engine.pace import Pace
from riverbridge.engine.settling import Aside
from riverbridge.engine.waking import Waker
from riverbridge.model.retry import RiverRetry
from riverbridge.store.database import connector
from riverbridge.store.jobs import JobTable
from tests.interop.conftest import COPY, River
from tests.interop.test_twin_rows import COLUMNS, INSERT, OURS, RIVERS, ROWS, Script, Twin, within
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.go

CLAIMED = 40

NOT_DUE = """
INSERT INTO ours.river_job (kind, queue, args, max_attempts, state, scheduled_at, finalized_at)
SELECT 'twin', queue, '{"do": "complete"}', 25, state::ours.river_job_state, now() + due::interval,
    CASE WHEN state = 'completed' THEN now() END
FROM (VALUES ('outbox', 'available', '1 minute'), ('other', 'available', '-1 minute'),
    ('outbox', 'scheduled', '-1 minute'), ('outbox', 'retryable', '-1 minute'),
    ('outbox', 'pending', '-1 minute'), ('outbox', 'completed', '-1 minute')
) AS left_alone (queue, state, due)
"""


def rows(conn: psycopg.Connection[Any], schema: str, where: str = "true") -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM {schema}.river_job WHERE {where} ORDER BY id".encode()
        )
        return cursor.fetchall()


def now(conn: psycopg.Connection[Any]) -> datetime:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


@contextmanager
def claimed_by_a_lane(dsn: str) -> Iterator[str]:
    """Leased from the start, by a taker with room for CLAIMED jobs; yields the owner."""
    taker = Script(CLAIMED, at_once=False)
    feed = Feed("route", "outbox", taker, RiverRetry(), claiming="lease")
    waker = Waker([feed])
    pace = Pace(claiming="lease", batch_size=1000, batch_bytes=8 << 20, hold=1.0)
    lane = Lane(
        connect=connector(dsn), table=JobTable("ours", OURS), waker=waker, paces={feed: pace},
        aside=Aside(), limits=Limits(), byte_budget=8 << 20,
    )  # fmt: skip
    stop = threading.Event()
    thread = threading.Thread(target=lane.run, args=(stop,))
    thread.start()
    try:
        yield OURS
    finally:
        taker.let_go()
        stop.set()
        waker.stop()
        thread.join(20)
    assert not thread.is_alive()


@contextmanager
def claimed_by_a_worker(dsn: str) -> Iterator[str]:
    """With as many slots; its functions take longer than rows are held."""
    let_go = threading.Event()
    workers = Workers()

    @workers.work(RawArgs, kind="twin")
    def wait(job: RunningJob[RawArgs]) -> None:
        let_go.wait(20)

    options = PoolOptions(schema="ours", hold=0.05, lanes=1, elections=False, poll_only=True)
    pool = WorkerPool(dsn, workers, {"outbox": QueueConfig(CLAIMED)}, options)
    pool.start()
    try:
        yield pool.client_id
    finally:
        pool.remove_queue("outbox")
        let_go.set()
        assert pool.stop(timeout=20)


def fill(conn: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """All of ROWS, of each priority, and what no claim may take, in both schemas."""
    assert len(ROWS) > CLAIMED
    for number, row in enumerate(ROWS.values()):
        values = {
            "attempt": 0, "max_attempts": 25, "attempted_by": None, "tags": [], "key": None,
            "states": None, "priority": 1 + number % 4, "age": timedelta(seconds=number % 5),
        } | row  # fmt: skip
        values |= {"args": Jsonb({"do": "complete"}), "errors": None}
        values["metadata"] = Jsonb(row.get("metadata", {}))
        conn.execute(INSERT, values)
    conn.execute(NOT_DUE)
    conn.execute(COPY)
    return rows(conn, "ours")


@pytest.mark.transition("T4")
@pytest.mark.parametrize("claimed", [claimed_by_a_lane, claimed_by_a_worker])
def test_a_claim_leaves_what_rivers_fetch_leaves(
    river_in: Callable[[Database, str], River], twin_database: Database,
    twin_tables: psycopg.Connection[Any], claimed: Any,
) -> None:  # fmt: skip
    """Of more jobs than it takes, the same ones: attempt, instant and the last 100 owners."""
    conn = twin_tables
    before = fill(conn)
    spans = [now(conn)]
    river_in(twin_database, "rivers")("fetch", RIVERS, "outbox", CLAIMED)
    spans.append(now(conn))
    with claimed(twin_database.dsn) as owner:
        eventually(lambda: len(rows(conn, "ours", "state = 'running'")) == CLAIMED)
        ours, theirs = rows(conn, "ours"), rows(conn, "rivers")
        spans.append(now(conn))
    for was, our, their in zip(before, ours, theirs, strict=True):
        if their["state"] == "running":
            assert within(their.pop("attempted_at"), (spans[0], spans[1]))
            assert within(our.pop("attempted_at"), (spans[1], spans[2]))
            assert (our["attempted_by"].pop(), their["attempted_by"].pop()) == (owner, RIVERS)
            assert len(our["attempted_by"]) < 100
            assert our["attempt"] == was["attempt"] + 1
        else:
            assert their == was
        assert our == their
    assert sum(row["state"] == "running" for row in theirs) == CLAIMED
    most = max(len(row["attempted_by"] or []) for row in ours if row["state"] == "running")
    assert most == 99, "with the newest, the cap"


PENDING = """
INSERT INTO ours.river_job (kind, queue, args, state, attempt, max_attempts, scheduled_at,
    created_at, attempted_at, attempted_by, errors, metadata, unique_key, unique_states)
SELECT kind, 'outbox', '{"do": "complete"}', 'pending', attempt, 25, now() + due::interval,
    now() - interval '30 days', attempted_at, attempted_by, errors, metadata::jsonb, key,
    '11110101'
FROM (VALUES ('twin'), ('stranger')) AS of (kind),
    (VALUES
        ('-1 hour', 0, NULL::timestamptz, NULL::text[], NULL::jsonb[], '{}', NULL::bytea),
        ('3 seconds', 0, NULL, NULL, NULL, '{}', 'due soon'),
        ('1 day', 0, NULL, NULL, NULL, '{"cancel_attempted_at": "2026-01-01T00:00:00Z"}', NULL),
        ('-1 day', 25, now() - interval '1 day', '{gone}', ARRAY[
            '{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "x", "trace": ""}'::jsonb
        ], '{}', NULL),
        ('-1 day', 1, now() - interval '1 day', '{riverbridge_dead}', NULL, '{}', NULL)
    ) AS way (due, attempt, attempted_at, attempted_by, errors, metadata, key)
WHERE kind = 'twin' OR key IS NULL
"""
WATCHED = """
INSERT INTO ours.river_job (kind, queue, args, state, attempt, max_attempts, scheduled_at,
    attempted_at, attempted_by, finalized_at)
SELECT 'twin', 'outbox', '{"do": "complete"}', state::ours.river_job_state, attempt, 25,
    now() - interval '1 hour', now() - interval '1 day', ARRAY[owner],
    CASE WHEN state = 'completed' THEN now() - interval '30 days' END
FROM (VALUES ('scheduled', 0, 'gone'), ('completed', 1, 'gone'), ('running', 1, 'gone'),
    ('running', 1, 'riverbridge_dead')) AS watched (state, attempt, owner)
"""
DEAD = """
INSERT INTO ours.riverbridge_process (id, host, pid, version, queues, heartbeat_at)
VALUES ('riverbridge_dead', 'gone', 1, '0', '{outbox}', now() - interval '1 hour')
"""


def upkept(conn: psycopg.Connection[Any], schema: str) -> bool:
    """Whether what is beside the pending jobs was scheduled and worked, cleaned away, rescued."""
    left = rows(conn, schema, "state <> 'pending'")
    states = [row["state"] for row in left]
    return len(left) == 3 and states[0] == "completed" and "running" not in states


@pytest.mark.transition("T23")
def test_a_pending_job_is_left_alone_by_all_that_goes_on(
    river_in: Callable[[Database, str], River], twin_database: Database,
    twin_tables: psycopg.Connection[Any],
) -> None:  # fmt: skip
    """By claims, scheduler, cleaner, rescuer and keeper, each of which is seen to do its work."""
    conn = twin_tables
    for statement in (WATCHED, PENDING, COPY, DEAD):
        conn.execute(statement.encode())
    before = rows(conn, "ours", "state = 'pending'")
    assert len(before) == 9
    workers = Workers()
    workers.work(Twin, kind="twin")(lambda job: None)
    options = PoolOptions(schema="ours")
    queues = {"outbox": QueueConfig(10)}
    with (
        river_in(twin_database, "rivers").serving("go", "outbox"),
        WorkerPool(twin_database.dsn, workers, queues, options),
    ):
        for schema in ("ours", "rivers"):
            eventually(lambda schema=schema: upkept(conn, schema), within=20)  # type: ignore[misc]
    for schema in ("ours", "rivers"):
        assert rows(conn, schema, "state = 'pending'") == before
