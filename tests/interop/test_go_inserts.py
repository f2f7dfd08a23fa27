"""What River's Go client inserts arrives, and Go reads what we made of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka import Message as Record

from riverbridge.embedded.broker import Broker
from riverbridge.model.outcome import Delivered, Outcome, Retry
from riverbridge.sinks.base import Message
from tests.interop.conftest import River
from tests.support.bridge import BridgeProcess, ScriptedSink, job_id, running_bridge
from tests.support.database import Database, new_name
from tests.support.given import GivenKafka
from tests.support.records import header, read_until
from tests.support.wait import eventually

pytestmark = pytest.mark.go


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def event_job(record: Record) -> int:
    return int(header(record, "ce_id").rpartition(":")[2])


def states(conn: psycopg.Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall())


def go_row(river: River, id_: int) -> dict[str, Any]:
    return next(job for job in river("read") if job["id"] == id_)


def test_a_thousand_mixed_jobs_arrive_once_inserted_by_go_and_left_alone(
    database: Database, conn: psycopg.Connection, kafka: Broker | GivenKafka, river: River
) -> None:
    topic = new_name("mixed")
    kafka.create_topic(topic, partitions=3)
    env = {
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SINKS__EVENTS__TOPIC": topic,
    }
    with BridgeProcess(database, env) as bridge:
        inserted = river("insert", "outbox", 1000)
        ids = set(inserted["ids"])
        assert len(ids) == 1000
        assert inserted["skipped"] > 0
        # No Go client runs from here on: who schedules is our own leader.
        records = read_until(
            kafka.bootstrap_servers, topic, lambda found: {event_job(r) for r in found} >= ids,
            partitions=3, within=30,
        )  # fmt: skip
        eventually(lambda: states(conn) == {"completed": 1000})
        assert bridge.running
    assert Counter(event_job(record) for record in records) == dict.fromkeys(ids, 1)
    bodies = {event_job(record): record.value() for record in records}
    for id_, args in conn.execute("SELECT id, args::text FROM river_job").fetchall():
        assert bodies[id_] == args.encode()
    read = river("read")
    assert {job["id"] for job in read} == ids
    assert {(job["state"], job["attempt"]) for job in read} == {("completed", 1)}


def test_a_job_that_fails_four_times_arrives_at_the_fifth(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    failures: Counter[int] = Counter()

    def four_times(message: Message) -> Outcome:
        if ("ce_type", "flaky") not in message.headers or failures[job_id(message)] == 4:
            return Delivered()
        failures[job_id(message)] += 1
        return Retry(f"no. {failures[job_id(message)]}")

    sink = ScriptedSink(four_times)
    env = {
        "ROUTES__A__QUEUES": "outbox",
        "ROUTES__A__RETRY": "fixed",
        "ROUTES__A__RETRY_DELAY": "0.2s",
    }
    with running_bridge(database, {"events": sink}, env):
        flaky = river("add", "outbox", "flaky", 0)["id"]
        sound = river("add", "outbox", "sound", 0)["id"]
        eventually(lambda: states(conn) == {"completed": 2}, within=20)
    assert Counter(sink.job_ids) == {flaky: 5, sound: 1}
    job = go_row(river, flaky)
    assert (job["state"], job["attempt"]) == ("completed", 5)
    assert job["error_ats"] == sorted(job["error_ats"])
    rows = conn.execute(
        "SELECT e->>'error', (e->>'attempt')::int FROM river_job, unnest(errors) AS e"
        " WHERE id = %s ORDER BY 2",
        (flaky,),
    ).fetchall()
    assert rows == [(f"events: no. {number}", number) for number in (1, 2, 3, 4)]


def test_rivers_backoff_brings_a_failed_job_back_through_our_scheduler(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    """The second failure is due in 16 s; the job waits as `retryable` until then."""
    sink = ScriptedSink(lambda message: Retry("down"))
    with running_bridge(database, {"events": sink}):
        id_ = river("add", "outbox", "flaky", 0)["id"]
        eventually(lambda: states(conn) == {"retryable": 1}, within=15)
        assert go_row(river, id_)["attempt"] == 2
        sink.script = lambda message: Delivered()
        conn.execute("UPDATE river_job SET scheduled_at = now()")
        eventually(lambda: states(conn) == {"completed": 1}, within=15)
    assert go_row(river, id_)["attempt"] == 3


def test_a_job_scheduled_eight_seconds_ahead_arrives_then(
    database: Database, conn: psycopg.Connection, river: River
) -> None:
    sink = ScriptedSink()
    with running_bridge(database, {"events": sink}):
        before = time.monotonic()
        added = river("add", "outbox", "later", 8)
        after = time.monotonic()
        assert added["state"] == "scheduled"
        [(came, _)] = eventually(lambda: sink.received, within=20)
        # Its time, then at most one look of the scheduler and one poll.
        assert before + 8 <= came <= after + 8 + 5 + 1.5
        eventually(lambda: states(conn) == {"completed": 1})
    assert go_row(river, added["id"])["state"] == "completed"
