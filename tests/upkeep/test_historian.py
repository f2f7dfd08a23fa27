"""The history, written from rows of a real database: each job once, whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.model.history import BOUNDS
from riverbridge.store import history
from riverbridge.upkeep.historian import Historian
from tests.support.database import Database
from tests.support.jobs import add
from tests.support.running import at_once

ENDED = "(SELECT until + interval '10 s' FROM riverbridge_history_mark)"
"""Ten seconds into the minute that is to be written."""


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as connection:
        yield connection


def begin(conn: psycopg.Connection[Any]) -> None:
    """The history is written up to the begin of the last whole minute, and to the last id."""
    turn(conn)
    conn.execute(
        "UPDATE riverbridge_history_mark SET until = date_trunc('minute', now()) - interval '1 min'"
    )


def turn(conn: psycopg.Connection[Any]) -> bool:
    with conn.transaction():
        return history.advance(conn, schema=None)


def write(conn: psycopg.Connection[Any]) -> None:
    """Write all of that minute, and what was inserted: as if time had gone by."""
    conn.execute(
        "UPDATE riverbridge_history_mark SET seen_id = (SELECT coalesce(max(id), 0) FROM river_job)"
    )
    for _ in range(12):
        turn(conn)


def lines(conn: psycopg.Connection[Any], facet: str, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Added up, as a test may run through the end of a minute or of an hour."""
    sums = ", ".join(f"sum({column})" for column in columns)
    found = conn.execute(
        f"SELECT name, {sums} FROM riverbridge_history WHERE step = 3600 AND facet = %s"
        " GROUP BY name".encode(),
        (facet,),
    )
    return {name: tuple(rest) for name, *rest in found.fetchall()}


def histograms(conn: psycopg.Connection[Any]) -> tuple[list[int], list[int]]:
    found = conn.execute(
        "SELECT wait, run FROM riverbridge_history"
        " WHERE step = 60 AND facet = 'all' AND wait <> '{}'"
    ).fetchall()
    [(wait, run)] = found
    return wait, run


def done(conn: psycopg.Connection[Any], state: str = "completed", **columns: str) -> int:
    given = {
        "state": f"'{state}'",
        "attempt": "1",
        "scheduled_at": f"{ENDED} - interval '1.5 s'",
        "attempted_at": f"{ENDED} - interval '0.3 s'",
        "finalized_at": ENDED,
    }
    return add(conn, **(given | columns))


@pytest.fixture
def written_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just happened may be written at once, so that no test waits for it."""
    monkeypatch.setattr(history, "LAG", timedelta(0))


@pytest.mark.usefixtures("written_late")
def test_counts_what_ended_and_what_came(conn: psycopg.Connection[Any]) -> None:
    begin(conn)
    for kind in ("a", "a", "b"):
        done(conn, kind=f"'{kind}'")
    done(conn, "discarded", kind="'b'", queue="'other'")
    done(conn, "cancelled", kind="'b'", attempted_at="NULL", attempt="0")
    add(conn, kind="'waiting'")
    write(conn)
    columns = ("inserted", "completed", "discarded", "cancelled")
    assert lines(conn, "all", *columns) == {"": (6, 3, 1, 1)}
    assert lines(conn, "kind", *columns) == {
        "a": (2, 2, 0, 0), "b": (3, 1, 1, 1), "waiting": (1, 0, 0, 0),
    }  # fmt: skip
    assert lines(conn, "queue", *columns) == {"other": (1, 0, 1, 0), "q": (5, 3, 0, 1)}
    wait, run = histograms(conn)
    assert (sum(wait), sum(run)) == (4, 4)  # one was never attempted
    assert BOUNDS[wait.index(4) - 1] <= 1.2 < BOUNDS[wait.index(4)]
    assert BOUNDS[run.index(4) - 1] <= 0.3 < BOUNDS[run.index(4)]


@pytest.mark.usefixtures("written_late")
def test_counts_each_job_once(conn: psycopg.Connection[Any], database: Database) -> None:
    """Also where several write at the same time, and where one begins anew in the middle."""
    begin(conn)
    for _ in range(20):
        done(conn)
    conn.execute("UPDATE riverbridge_history_mark SET seen_id = 20")

    def keep_writing() -> None:
        with database.connect() as own:
            for _ in range(20):
                turn(own)

    at_once(*[keep_writing] * 4)
    write(conn)
    assert lines(conn, "all", "inserted", "completed") == {"": (20, 20)}


@pytest.mark.usefixtures("written_late")
def test_a_round_that_fails_is_repeated_whole(conn: psycopg.Connection[Any]) -> None:
    begin(conn)
    done(conn)
    conn.execute("UPDATE riverbridge_history_mark SET seen_id = 1")
    with conn.transaction(force_rollback=True):
        history.advance(conn, schema=None)
    write(conn)
    assert lines(conn, "all", "inserted", "completed") == {"": (1, 1)}


def error(at: str, attempt: int = 1) -> str:
    spelled = f"to_char(({at}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    return f"jsonb_build_object('at', {spelled}, 'attempt', {attempt}, 'error', 'x', 'trace', '')"


@pytest.mark.usefixtures("written_late")
def test_counts_failed_attempts_wherever_their_jobs_are_now(conn: psycopg.Connection[Any]) -> None:
    begin(conn)
    now, before = error(ENDED), error(f"{ENDED} - interval '5 min'")
    failed = {"errors": f"ARRAY[{before}, {now}]", "attempt": "2", "attempted_at": ENDED}
    later = {"scheduled_at": "now() + interval '1 h'"}
    add(conn, kind="'retryable'", state="'retryable'", priority="3", **failed, **later)
    add(conn, kind="'soon'", scheduled_at="now()", **failed)
    add(conn, kind="'running'", state="'running'", **failed)
    done(conn, "discarded", kind="'discarded'", **failed)
    done(conn, kind="'twice'", errors=f"ARRAY[{now}, {error(ENDED, 2)}]")
    done(conn, kind="'earlier'", errors=f"ARRAY[{before}]")
    add(
        conn,
        kind="'nonsense'",
        state="'retryable'",
        errors="""ARRAY['"x"', '{"at": 7}']::jsonb[]""",
        **later,
    )
    write(conn)
    found = {name: count for name, (count,) in lines(conn, "kind", "failed").items() if count}
    assert found == {"retryable": 1, "soon": 1, "running": 1, "discarded": 1, "twice": 2}


@pytest.mark.usefixtures("written_late")
def test_knows_the_backlog_of_each_queue(conn: psycopg.Connection[Any]) -> None:
    begin(conn)
    add(conn, queue="'a'", scheduled_at="now() - interval '30 s'")
    add(conn, queue="'a'", scheduled_at="now() - interval '5 s'")
    add(conn, queue="'b'", scheduled_at="now() + interval '1 h'")
    write(conn)
    found = lines(conn, "queue", "available", "oldest")
    assert found["a"][0] == 2
    assert found["a"][1] == pytest.approx(30, abs=3)
    assert lines(conn, "all", "available", "oldest") == {"": found["a"]}


def test_waits_until_what_it_reads_is_whole(conn: psycopg.Connection[Any]) -> None:
    turn(conn)
    done(conn, finalized_at="now()")
    assert not turn(conn)
    assert lines(conn, "all", "completed") == {}


def test_leaves_out_what_nobody_wrote_for_long(conn: psycopg.Connection[Any]) -> None:
    turn(conn)
    conn.execute("UPDATE riverbridge_history_mark SET until = now() - interval '3 d'")
    done(conn, finalized_at="now() - interval '2 d'")
    assert turn(conn)
    row = conn.execute("SELECT until > now() - interval '11 min' FROM riverbridge_history_mark")
    assert row.fetchone() == (True,)


def test_the_duty_writes_and_prunes(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name)"
        " SELECT step, now() - ago * interval '1 h', 'all', ''"
        " FROM (VALUES (60, 1), (60, 3), (600, 25), (600, 27), (3600, 191), (3600, 193))"
        " AS v (step, ago)"
    )
    historian = Historian()
    historian.begin()
    historian.step(conn, 10)
    found = conn.execute("SELECT step FROM riverbridge_history ORDER BY step").fetchall()
    assert found == [(60,), (600,), (3600,)]
    mark = conn.execute("SELECT until FROM riverbridge_history_mark").fetchone()
    assert mark is not None
    assert abs((mark[0] - datetime.now(UTC)).total_seconds()) < 10
