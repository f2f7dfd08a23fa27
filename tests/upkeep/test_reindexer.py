"""Indexes are rebuilt beside themselves, and what a rebuild leaves is not left lying about."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from riverbridge.upkeep.reindexer import INDEXES, Reindexer
from tests.support.database import Database
from tests.support.wait import eventually
from tests.upkeep.periodical import Wall

KIND, METADATA = "river_job_kind", "river_job_metadata_index"
DAY = 86400.0
REINDEXING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND query LIKE 'REINDEX %' AND state = 'active'"
)


@pytest.fixture
def conn(tables: Database) -> Iterator[psycopg.Connection]:
    with tables.connect() as connection:
        yield connection


@pytest.fixture
def reindexers(tables: Database, conn: psycopg.Connection) -> Iterator[list[Reindexer]]:
    """Those that a test has begun; they end with it, and so does what they leave."""
    begun: list[Reindexer] = []
    yield begun
    for reindexer in begun:
        reindexer.end()
    for leftover in leftovers(conn):
        conn.execute(f"DROP INDEX {leftover}".encode())


@pytest.fixture
def holder(tables: Database) -> Iterator[psycopg.Connection]:
    """A transaction as one that writes to the table: no rebuild ends before it does."""
    with tables.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE river_job IN ROW EXCLUSIVE MODE")
        yield connection
        connection.rollback()


def files(conn: psycopg.Connection) -> dict[str, int]:
    """The file of each of River's indexes: a rebuild gives it another."""
    rows = conn.execute(
        "SELECT relname, relfilenode::bigint FROM pg_class WHERE relname = ANY(%s)",
        (list(INDEXES),),
    )
    return dict(rows.fetchall())


def leftovers(conn: psycopg.Connection) -> list[str]:
    rows = conn.execute("SELECT relname FROM pg_class WHERE relname ~ '_cc(new|old)[0-9]*$'")
    return [name for (name,) in rows.fetchall()]


def at_work(conn: psycopg.Connection) -> bool:
    row = conn.execute(REINDEXING).fetchone()
    return row is not None and row[0] > 0


def begin(
    tables: Database, wall: Wall, conn: psycopg.Connection, *names: str, limit: float | None = 60
) -> Reindexer:
    reindexer = Reindexer(tables.connect, indexes=names, limit=limit, now=wall)
    reindexer.begin()
    reindexer.step(conn, 5)
    return reindexer


def test_all_of_rivers_indexes_are_rebuilt_at_midnight(
    tables: Database, conn: psycopg.Connection, reindexers: list[Reindexer]
) -> None:
    wall = Wall()  # at noon
    reindexer = Reindexer(tables.connect, now=wall)
    reindexers.append(reindexer)
    reindexer.begin()
    before = files(conn)
    assert before.keys() == set(INDEXES)
    for hours in (0, 11.99):
        wall.forward(hours * 3600)
        reindexer.step(conn, 5)
    assert reindexer._thread is None
    wall.forward(60)
    reindexer.step(conn, 5)
    eventually(lambda: reindexer.rebuilt == len(INDEXES))
    after = files(conn)
    assert not set(before.values()) & set(after.values())
    reindexer.step(conn, 5)
    wall.forward(DAY - 120)
    reindexer.step(conn, 5)
    assert files(conn) == after
    assert leftovers(conn) == []


def test_what_is_not_there_and_what_was_not_ended_is_passed_over(
    tables: Database,
    conn: psycopg.Connection,
    reindexers: list[Reindexer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    conn.execute(f"CREATE INDEX {KIND}_ccnew3 ON river_job (kind)".encode())
    conn.execute(f"CREATE INDEX {METADATA}_ccnew_x ON river_job (kind)".encode())
    wall = Wall()
    reindexer = begin(tables, wall, conn, "no_such_index", KIND, METADATA)
    reindexers.append(reindexer)
    before = files(conn)
    wall.forward(DAY / 2)
    reindexer.step(conn, 5)
    eventually(lambda: reindexer.rebuilt == 1)
    after = files(conn)
    assert {name for name in before if before[name] != after[name]} == {METADATA}
    assert "index no_such_index is not there" in caplog.text
    assert f"drop {KIND}_ccnew3" in caplog.text
    conn.execute(f"DROP INDEX {METADATA}_ccnew_x".encode())


def test_at_the_end_of_the_term_a_rebuild_is_cancelled_and_leaves_nothing(
    tables: Database,
    conn: psycopg.Connection,
    reindexers: list[Reindexer],
    holder: psycopg.Connection,
) -> None:
    wall = Wall()
    reindexer = begin(tables, wall, conn, KIND, METADATA)
    reindexers.append(reindexer)
    before = files(conn)
    wall.forward(DAY / 2)
    reindexer.step(conn, 5)
    eventually(lambda: leftovers(conn) == [f"{KIND}_ccnew"])
    ending = threading.Thread(target=reindexer.end)
    ending.start()
    eventually(lambda: not at_work(conn))
    holder.rollback()  # dropping waits for it too
    ending.join(10)
    assert not ending.is_alive()
    assert leftovers(conn) == []
    assert files(conn) == before
    assert reindexer.rebuilt == 0
    # In the next term it is done.
    reindexer.begin()
    reindexer.step(conn, 5)
    wall.forward(DAY)
    reindexer.step(conn, 5)
    eventually(lambda: reindexer.rebuilt == 2)


def test_a_rebuild_that_takes_too_long_is_given_up(
    tables: Database,
    conn: psycopg.Connection,
    reindexers: list[Reindexer],
    holder: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wall = Wall()
    reindexer = begin(tables, wall, conn, KIND, limit=0.3)
    reindexers.append(reindexer)
    wall.forward(DAY / 2)
    reindexer.step(conn, 5)
    eventually(lambda: f"index {KIND} was not rebuilt: canceling statement" in caplog.text)
    assert leftovers(conn) == [f"{KIND}_ccnew"]
    wall.forward(DAY)
    eventually(lambda: reindexer._thread is not None and not reindexer._thread.is_alive())
    reindexer.step(conn, 5)
    eventually(lambda: f"drop {KIND}_ccnew, and allow more time" in caplog.text)
    holder.rollback()


def test_a_run_that_is_still_going_on_is_not_started_again(
    tables: Database,
    conn: psycopg.Connection,
    reindexers: list[Reindexer],
    holder: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wall = Wall()
    reindexer = begin(tables, wall, conn, KIND, limit=None)
    reindexers.append(reindexer)
    for _ in range(2):
        wall.forward(DAY)
        reindexer.step(conn, 5)
        eventually(lambda: at_work(conn))
    assert "this run is passed over" in caplog.text
    holder.rollback()
    eventually(lambda: reindexer.rebuilt == 1)
