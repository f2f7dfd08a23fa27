"""The transaction of a batch, on Postgres: how much is sent, and what each error leads to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.bridge.deposit import Deposited, Depositor, Moved
from riverbridge.bridge.mapping import Mapped, Mapper, Plan
from riverbridge.sources.base import Event, Position
from riverbridge.store import ingest
from riverbridge.upkeep.table_cleaner import TableCleaner
from tests.ingest.rows import args_of, numbers, positions, quarantined
from tests.support.database import Database

MAPPER = Mapper("events", Plan(kind="event"))
DAY = timedelta(days=1)


class Counting(psycopg.Connection[tuple[Any, ...]]):
    """Keeps what it is told to run, each of which is a round trip."""

    said: list[bytes]


class CountingCursor(psycopg.Cursor[tuple[Any, ...]]):
    def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        assert isinstance(self.connection, Counting)
        self.connection.said.append(query if isinstance(query, bytes) else str(query).encode())
        return super().execute(query, *args, **options)


@pytest.fixture
def connection(tables: Database) -> Iterator[Counting]:
    with Counting.connect(tables.dsn, autocommit=True, cursor_factory=CountingCursor) as connection:
        connection.said = []
        yield connection


def batch(first: int, count: int) -> list[Mapped]:
    return [
        mapped
        for n in range(first, first + count)
        for mapped in MAPPER.map(
            Event(f"e{n}", b'{"n": %d}' % n, position=Position("p", str(n + 1)))
        )
    ]


def begin(connection: psycopg.Connection[Any], *partitions: str) -> None:
    ingest.begin(connection, "events", dict.fromkeys(partitions, "0"))


def test_a_batch_is_four_round_trips_and_five_with_the_inbox(
    connection: Counting, tables: Database
) -> None:
    begin(connection, "p", "q")
    connection.said.clear()
    done = Depositor(MAPPER).write(connection, batch(0, 1000), {"p": ("0", "7"), "q": ("0", "3")})
    assert done == Deposited(jobs=1000)
    assert len(connection.said) == 4, connection.said
    connection.said.clear()
    Depositor(MAPPER, remember=DAY).write(connection, batch(1000, 1000), {"p": ("7", "9")})
    assert len(connection.said) == 5, connection.said
    assert positions(tables) == {"p": "9", "q": "3"}
    assert [args["n"] for args in args_of(tables)] == list(range(2000))


def test_nothing_is_committed_from_where_another_has_been(
    connection: Counting, tables: Database
) -> None:
    begin(connection, "p", "q")
    depositor = Depositor(MAPPER, remember=DAY)
    steps: Sequence[dict[str, tuple[str, str]]] = (
        {"p": ("0", "5"), "q": ("1", "2")},
        {"p": ("5", "6")},
        {"gone": ("0", "1")},
    )
    for each in steps:
        with pytest.raises(Moved):
            depositor.write(connection, batch(0, 3), each)
    assert args_of(tables) == []
    assert positions(tables) == {"p": "0", "q": "0"}
    assert depositor.write(connection, batch(0, 3), {"p": ("0", "3")}).jobs == 3


def test_the_same_again_is_no_second_job_by_the_key_and_by_the_inbox(
    connection: Counting, tables: Database
) -> None:
    plain, inbox = Depositor(MAPPER), Depositor(MAPPER, remember=DAY)
    twice = [*batch(0, 5), *batch(0, 5)]
    assert plain.write(connection, twice, {}) == Deposited(jobs=5, duplicates=5)
    assert plain.write(connection, twice, {}) == Deposited(duplicates=10)
    assert inbox.write(connection, batch(0, 6), {}) == Deposited(jobs=1, duplicates=5)
    connection.execute("DELETE FROM river_job")
    assert inbox.write(connection, batch(0, 6), {}) == Deposited(duplicates=6)
    assert args_of(tables) == []


def test_a_finished_job_keeps_its_key(connection: Counting, tables: Database) -> None:
    Depositor(MAPPER).write(connection, batch(0, 4), {})
    for number, state in enumerate(("completed", "cancelled", "discarded")):
        connection.execute(
            "UPDATE river_job SET state = %s::river_job_state, finalized_at = now()"
            " WHERE (args->>'n')::int = %s",
            (state, number),
        )
    assert Depositor(MAPPER).write(connection, batch(0, 4), {}) == Deposited(duplicates=4)


def test_rows_the_database_refuses_are_put_away_alone(
    connection: Counting, tables: Database
) -> None:
    connection.execute("ALTER TABLE river_job ADD CHECK ((args->>'n')::int NOT IN (3, 700, 701))")
    try:
        begin(connection, "p")
        for depositor in (Depositor(MAPPER, remember=DAY), Depositor(MAPPER)):
            depositor.write(connection, batch(0, 1000), {"p": (positions(tables)["p"], "1000")})
            assert len(args_of(tables)) == 997
            assert [row.event_id for row in quarantined(tables)] == ["e3", "e700", "e701"]
    finally:
        connection.execute("ALTER TABLE river_job DROP CONSTRAINT river_job_args_check")
    assert numbers(tables) == dict.fromkeys(set(range(1000)) - {3, 700, 701}, 1)
    assert positions(tables) == {"p": "1000"}


def test_what_is_no_rows_fault_puts_nothing_away(connection: Counting, tables: Database) -> None:
    begin(connection, "p")
    connection.execute("CREATE ROLE nobody_at_all")
    try:
        connection.execute("SET ROLE nobody_at_all")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            Depositor(MAPPER).write(connection, batch(0, 3), {"p": ("0", "3")})
        connection.execute("RESET ROLE")
    finally:
        connection.execute("DROP ROLE nobody_at_all")
    assert quarantined(tables) == []
    assert positions(tables) == {"p": "0"}


def test_what_lies_in_quarantine_and_comes_again_lies_there_once(
    connection: Counting, tables: Database
) -> None:
    [bad] = MAPPER.map(Event("bad", b"{"))
    for depositor in (Depositor(MAPPER, remember=DAY), Depositor(MAPPER)):
        depositor.write(connection, [bad, *batch(0, 1)], {})
    assert len(quarantined(tables)) == 1
    connection.execute("DELETE FROM riverbridge_quarantine")  # dropped: it stays away
    Depositor(MAPPER, remember=DAY).write(connection, [bad], {})
    assert quarantined(tables) == []


def test_the_inbox_forgets_what_has_expired_in_bounded_batches(
    connection: Counting, tables: Database
) -> None:
    Depositor(MAPPER, remember=DAY).write(connection, batch(0, 10), {})
    connection.execute(
        "UPDATE riverbridge_inbox SET expires_at = now() - interval '1 s' WHERE digest IN"
        " (SELECT digest FROM riverbridge_inbox LIMIT 7)"
    )
    cleaner = TableCleaner("inbox")
    cleaner.batch.limit = 5
    cleaner.begin()
    cleaner.step(connection, 5.0)
    assert cleaner.deleted == 5
    assert cleaner.due < time.monotonic() + 2  # a full batch: the next follows soon
    cleaner.step(connection, 5.0)
    cleaner.step(connection, 5.0)
    assert cleaner.deleted == 7
    assert connection.execute("SELECT count(*) FROM riverbridge_inbox").fetchone() == (3,)
