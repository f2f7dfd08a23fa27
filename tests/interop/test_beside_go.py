"""A running bridge and River's Go client on the same tables: neither holds the other up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from riverbridge.store import leader
from tests.interop.conftest import River
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.go

SLOW = 5.0
"""Seconds until the slow sink answers."""

PROMPT = 1.5
"""Seconds within which Go's calls return all the same: `hold`, 1 s, and a margin."""

TWO_QUEUES = {"ROUTES__A__QUEUES": "orders,mails", "POLL_INTERVAL": "0.05s"}


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def state(conn: psycopg.Connection, id_: int) -> str:
    row = conn.execute("SELECT state::text FROM river_job WHERE id = %s", (id_,)).fetchone()
    assert row is not None
    shown: str = row[0]
    return shown


def stays(condition: Callable[[], bool], seconds: float) -> None:
    """`condition` holds for so long: what would break it takes a tenth of that."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        assert condition()
        time.sleep(0.01)


@pytest.fixture
def slow(database: Database) -> Iterator[ScriptedSink]:
    """The sink of a running bridge that answers late."""
    sink = ScriptedSink(delay=SLOW)
    with running_bridge(database, {"events": sink}):
        yield sink
        sink.delay = 0


def test_inserting_a_key_that_is_in_delivery_does_not_wait_for_the_sink(
    slow: ScriptedSink, conn: psycopg.Connection, river: River
) -> None:
    first = river("unique", "outbox", 7)
    assert not first["skipped"]
    eventually(lambda: slow.job_ids == [first["id"]])
    assert state(conn, first["id"]) == "available"  # under the row lock: the insert must wait
    again = river("unique", "outbox", 7)
    assert again["skipped"]
    assert again["id"] == first["id"]
    assert again["seconds"] < PROMPT
    assert state(conn, first["id"]) == "running"
    eventually(lambda: state(conn, first["id"]) == "completed", within=SLOW + 5)
    assert len(slow.received) == 1


def test_cancelling_a_job_that_is_in_delivery_does_not_wait_for_the_sink(
    slow: ScriptedSink, conn: psycopg.Connection, river: River
) -> None:
    id_ = river("add", "outbox", "order", 0)["id"]
    eventually(lambda: slow.job_ids == [id_])
    assert state(conn, id_) == "available"
    cancelled = river("cancel", id_)
    assert cancelled["seconds"] < PROMPT
    # It was out already: as with River's own workers, what succeeds in spite of it is completed.
    assert cancelled["state"] == "running"
    eventually(lambda: state(conn, id_) == "completed", within=SLOW + 5)


def test_cancelling_a_job_before_its_turn_keeps_it_from_the_sink(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    sink = ScriptedSink()
    with running_bridge(database, {"events": sink}):
        id_ = river("add", "outbox", "order", 1)["id"]
        assert river("cancel", id_)["state"] == "cancelled"
        other = river("add", "outbox", "order", 1)["id"]
        eventually(lambda: sink.job_ids == [other], within=10)
    assert state(conn, id_) == "cancelled"


def insert_twin(conn: psycopg.Connection, args: str) -> int:
    """A job for the worker of `work.go`, which has failed once: the next failure makes it wait."""
    row = conn.execute(
        "INSERT INTO river_job (kind, queue, args, max_attempts, errors)"
        " VALUES ('twin', 'outbox', %s, 25, ARRAY[%s]) RETURNING id",
        (args, Jsonb({"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "", "trace": ""})),
    ).fetchone()
    assert row is not None
    id_: int = row[0]
    return id_


@pytest.mark.parametrize(
    ("args", "left"), [('{"do": "complete"}', "completed"), ('{"do": "fail"}', "retryable")]
)
def test_a_go_worker_on_a_bridged_queue_is_named(
    database: Database, conn: psycopg.Connection, river: River,
    caplog: pytest.LogCaptureFixture, args: str, left: str,
) -> None:  # fmt: skip
    with river.serving("go-stray-1", "outbox"):
        id_ = insert_twin(conn, args)
        eventually(lambda: state(conn, id_) == left)
        with running_bridge(database, {"events": ScriptedSink()}):
            eventually(lambda: [r for r in caplog.messages if "go-stray-1" in r and "outbox" in r])


@pytest.mark.parametrize("name", ["orders", "*"])
def test_pause_and_resume_by_go_are_obeyed_within_a_second(
    database: Database, conn: psycopg.Connection, river: River, name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "riverbridge")
    sink = ScriptedSink()
    paused = ["orders", "mails"] if name == "*" else ["orders"]
    with running_bridge(database, {"events": sink}, TWO_QUEUES):
        eventually(lambda: queue_rows(conn) == {"orders", "mails"})
        river("pause", name)
        told = {f"queue {queue} is paused" for queue in paused}
        eventually(lambda: told <= set(caplog.messages), within=1)
        waiting = {river("add", queue, "order", 0)["id"] for queue in paused}
        if name != "*":
            free = river("add", "mails", "mail", 0)["id"]
            eventually(lambda: free in sink.job_ids, within=1)
        stays(lambda: not waiting & set(sink.job_ids), 3.0)  # beyond a look at the queue rows
        river("resume", name)
        eventually(lambda: waiting <= set(sink.job_ids), within=1)
    assert queue_rows(conn) == {"orders", "mails"}


def test_a_queue_paused_before_the_start_is_left_alone_and_its_row_kept(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    sink = ScriptedSink()
    conn.execute(
        "INSERT INTO river_queue (name, created_at, metadata, updated_at, paused_at)"
        " VALUES ('orders', now() - interval '9 days', '{\"a\": 1}', now() - interval '2 days',"
        " now() - interval '2 days')"
    )
    before = conn.execute("SELECT name, created_at, metadata, paused_at FROM river_queue")
    rows = before.fetchall()
    id_ = river("add", "orders", "order", 0)["id"]
    env = {"ROUTES__A__QUEUES": "orders", "POLL_INTERVAL": "0.05s"}
    with running_bridge(database, {"events": sink}, env):
        fresh = "SELECT updated_at > now() - interval '1 minute' FROM river_queue"
        eventually(lambda: conn.execute(fresh.encode()).fetchone() == (True,))
        stays(lambda: sink.job_ids == [], 2.5)
        after = conn.execute("SELECT name, created_at, metadata, paused_at FROM river_queue")
        assert after.fetchall() == rows
        river("resume", "orders")
        eventually(lambda: sink.job_ids == [id_], within=1)


def queue_rows(conn: psycopg.Connection) -> set[str]:
    return {name for (name,) in conn.execute("SELECT name FROM river_queue").fetchall()}


def leads(conn: psycopg.Connection) -> str:
    seat = leader.get(conn, schema=None)
    return "" if seat is None else seat.leader_id


def test_one_leads_at_a_time_and_scheduled_jobs_arrive_whoever_does(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    sink = ScriptedSink()

    def arrives() -> None:
        id_ = river("add", "outbox", "later", 1)["id"]
        eventually(lambda: id_ in sink.job_ids, within=1 + 5 + 3)

    with river.serving("go-1", "elsewhere"):
        eventually(lambda: leads(conn) == "go-1")
        with running_bridge(database, {"events": sink}) as bridge:
            arrives()
            assert leads(conn) == "go-1"
            assert bridge.checks()["leader"] is None
        assert leads(conn) == "go-1"
    with running_bridge(database, {"events": sink}) as bridge:
        eventually(lambda: leads(conn) == bridge.client_id)
        with river.serving("go-2", "elsewhere"):
            eventually(lambda: "elsewhere" in queue_rows(conn))
            arrives()
            assert leads(conn) == bridge.client_id
        assert leads(conn) == bridge.client_id
        arrives()
    assert leads(conn) == ""
