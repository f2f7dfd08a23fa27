"""The same rows in two schemas, River's statement on one and ours on the other: equal after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.model.job import JobState
from riverbridge.store import upkeep
from tests.interop.conftest import COPY
from tests.interop.upkeep.conftest import Oracle, OracleError
from tests.support.database import Database

pytestmark = pytest.mark.go

LOOK_AHEAD = timedelta(seconds=5)
FINALIZED = ("cancelled", "completed", "discarded")
DEFAULT_STATES = "11110101"
WITHOUT_RETRYABLE = "11010101"
WITH_DISCARDED = "11011101"

COLUMNS = (
    "id, state::text, attempt, max_attempts, attempted_at, created_at, finalized_at,"
    " scheduled_at, priority, args, attempted_by, errors, kind, metadata, queue, tags,"
    " unique_key, unique_states::text"
)
INSERT = """
INSERT INTO ours.river_job (state, kind, args, queue, priority, scheduled_at, finalized_at,
    metadata, unique_key, unique_states, attempt)
VALUES (%(state)s::text::ours.river_job_state, 'twin', '{"n": 1}', %(queue)s, %(priority)s,
    now() + %(due)s, now() - %(age)s::interval, %(metadata)s::text::jsonb, %(key)s,
    %(states)s::text::bit(8), 3)
ON CONFLICT DO NOTHING
"""


def fill(conn: psycopg.Connection, *rows: dict[str, Any]) -> None:
    """Insert `rows`, given by what differs from a plain due job, into both schemas."""
    for row in rows:
        values: dict[str, Any] = {
            "state": "scheduled",
            "queue": "default",
            "priority": 1,
            "due": timedelta(0),
            "age": None,
            "metadata": "{}",
            "key": None,
            "states": None,
        } | row
        if values["state"] in FINALIZED and values["age"] is None:
            values["age"] = timedelta(minutes=1)
        conn.execute(INSERT, values)
    conn.execute(COPY)


def rows(conn: psycopg.Connection, schema: str) -> list[Any]:
    return conn.execute(f"SELECT {COLUMNS} FROM {schema}.river_job ORDER BY id".encode()).fetchall()


def database_now(conn: psycopg.Connection, ahead: timedelta = timedelta(0)) -> datetime:
    row = conn.execute("SELECT (now() + %s) AT TIME ZONE 'UTC'", (ahead,)).fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def schedule_both(
    conn: psycopg.Connection, oracle: Oracle, limit: int = 10_000
) -> upkeep.Scheduled:
    with conn.transaction():
        moment = database_now(conn, LOOK_AHEAD)
        ours = upkeep.schedule(conn, look_ahead=LOOK_AHEAD, limit=limit, schema="ours")
    theirs = oracle("schedule", "rivers", f"{moment.isoformat(timespec='microseconds')}Z", limit)
    assert (ours.jobs, list(ours.conflicts)) == (theirs["jobs"], sorted(theirs["conflicts"]))
    assert rows(conn, "ours") == rows(conn, "rivers")
    return ours


def random_rows(seed: int) -> Iterator[dict[str, Any]]:
    dice = random.Random(seed)
    for _ in range(250):
        keyed = dice.random() < 0.6
        yield {
            "state": dice.choice(
                ("scheduled",) * 4
                + ("retryable",) * 6
                + ("available", "running", "pending", "completed", "cancelled", "discarded")
            ),
            "queue": dice.choice(("default", "a-b", "c")),
            "priority": dice.randint(1, 4),
            "due": timedelta(seconds=dice.choice((-3600, -1, -1, 0, 3, 60, 3600))),
            "metadata": dice.choice(("{}", '{"a": {"b": 1}}', '{"unique_key_conflict": 1}')),
            "key": b"k%d" % dice.randrange(12) if keyed else None,
            "states": dice.choice((DEFAULT_STATES, WITHOUT_RETRYABLE, WITHOUT_RETRYABLE, None)),
        }


@pytest.fixture
def conn(twins: Database) -> Iterator[psycopg.Connection]:
    with twins.connect() as connection:
        yield connection


@pytest.mark.transition("T13", "T14", "T23")
@pytest.mark.parametrize("seed", range(6))
def test_schedule_leaves_the_rows_river_leaves(
    conn: psycopg.Connection, oracle: Oracle, seed: int
) -> None:
    fill(conn, *random_rows(seed))
    result = schedule_both(conn, oracle)
    assert result.conflicts
    assert result.jobs > len(result.conflicts)


def test_batches_take_the_jobs_in_rivers_order(conn: psycopg.Connection, oracle: Oracle) -> None:
    fill(conn, *random_rows(99))
    batches = 0
    while schedule_both(conn, oracle, limit=17).jobs == 17:
        batches += 1
    assert batches > 2


def test_same_key_twice_in_a_batch(conn: psycopg.Connection, oracle: Oracle) -> None:
    twin = {"state": "retryable", "key": b"k", "states": WITHOUT_RETRYABLE}
    fill(conn, {**twin, "priority": 2}, {**twin, "priority": 1}, {**twin, "priority": 1})
    assert list(schedule_both(conn, oracle).conflicts) == [1, 3]


def test_key_held_by_a_running_job(conn: psycopg.Connection, oracle: Oracle) -> None:
    holder = {"state": "running", "key": b"k", "states": DEFAULT_STATES}
    fill(conn, holder, {"state": "retryable", "key": b"k", "states": WITHOUT_RETRYABLE})
    assert list(schedule_both(conn, oracle).conflicts) == [2]


def test_a_key_kept_while_discarded_stops_river_but_not_us(
    conn: psycopg.Connection, oracle: Oracle
) -> None:
    """River's scheduler fails on such a row every time, and with it on all other due jobs."""
    late = {"state": "retryable", "key": b"k", "states": WITH_DISCARDED}
    fill(conn, {"state": "running", "key": b"k", "states": DEFAULT_STATES}, late, {})
    moment = database_now(conn, LOOK_AHEAD).isoformat(timespec="microseconds")
    with pytest.raises(OracleError, match="23505"):
        oracle("schedule", "rivers", f"{moment}Z", 10)
    result = upkeep.schedule(conn, look_ahead=LOOK_AHEAD, limit=10, schema="ours")
    assert result.jobs == 2
    assert list(result.conflicts) == [2]
    assert [row[1] for row in rows(conn, "ours")] == ["running", "discarded", "available"]


@pytest.mark.transition("T21", "T23")
@pytest.mark.parametrize(
    ("cancelled", "completed", "discarded"),
    [(86400, 86400, 604800), (-1, 3600, -1), (60, -1, 3600), (0, 0, 0), (-1, -1, -1)],
)
def test_clean_leaves_the_rows_river_leaves(
    conn: psycopg.Connection, oracle: Oracle, cancelled: int, completed: int, discarded: int
) -> None:
    dice = random.Random(7)
    edges = [timedelta(seconds=s) for s in (60, 3600, 86400, 604800)]
    states = [state.value for state in JobState]
    jobs: list[dict[str, Any]] = [{"state": dice.choice(states)} for _ in range(60)]
    jobs += [
        {"state": state, "age": edge + timedelta(microseconds=shift)}
        for state in FINALIZED
        for edge in edges
        for shift in (-1000, 0, 1000)
    ]
    seconds = {"cancelled": cancelled, "completed": completed, "discarded": discarded}
    keep = {JobState(s): timedelta(seconds=n) for s, n in seconds.items() if n >= 0}
    with conn.transaction():  # one now(), so that a job can be exactly as old as it may get
        moment = database_now(conn)
        fill(conn, *jobs)
        ours = upkeep.clean(conn, keep=keep, limit=10_000, schema="ours")
    text = f"{moment.isoformat(timespec='microseconds')}Z"
    theirs = oracle("clean", "rivers", text, 10_000, cancelled, completed, discarded)
    assert ours == theirs["jobs"]
    assert (ours > 0) is bool(keep)
    assert rows(conn, "ours") == rows(conn, "rivers")


def test_clean_keeps_to_its_limit(conn: psycopg.Connection) -> None:
    old = {"age": timedelta(days=30)}
    fill(conn, *[{"state": state, **old} for state in FINALIZED for _ in range(10)])
    keep = {JobState(state): timedelta(days=1) for state in FINALIZED}
    counts = [upkeep.clean(conn, keep=keep, limit=12, schema="ours") for _ in range(4)]
    assert counts == [12, 12, 6, 0]
