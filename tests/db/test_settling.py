"""One bad row, one silent client, one lost connection: what the transaction does then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from riverbridge.engine.settling import by_halves, write_locked
from riverbridge.model.job import JobState
from riverbridge.model.settlement import Settlement
from riverbridge.store.database import connector, lost, transaction
from riverbridge.store.jobs import JobTable
from tests.support.database import Database
from tests.support.jobs import claim, feed, fill
from tests.support.wait import eventually

TABLE = JobTable(None, "riverbridge_me")
LIMITS = {"idle": 5.0, "total": 10.0}


@pytest.fixture
def connection(tables: Database) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with connector(tables.dsn)() as opened:
        yield opened


def trigger(
    connection: psycopg.Connection[Any], body: str, when: str, *, deferred: bool = False
) -> None:
    connection.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN {body}; END$$".encode()
    )
    kind = "CREATE CONSTRAINT TRIGGER guard AFTER" if deferred else "CREATE TRIGGER guard BEFORE"
    late = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    connection.execute(
        f"{kind} UPDATE ON river_job {late}"
        f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION guard()".encode()
    )


def states(connection: psycopg.Connection[Any]) -> dict[int, str]:
    return dict(connection.execute("SELECT id, state::text FROM river_job").fetchall())


@pytest.mark.parametrize(
    ("body", "reason"), [("RAISE 'not this one'", "not this one"), ("RETURN NULL", "trigger")]
)
@pytest.mark.parametrize("bad", [(1,), (50,), (1, 2, 37, 50), tuple(range(1, 51))], ids=len)
def test_rows_that_cannot_be_written_hold_no_other(
    tables: Database,
    connection: psycopg.Connection[Any],
    body: str,
    reason: str,
    bad: tuple[int, ...],
) -> None:
    fill(connection, 50, priority="1", args="jsonb_build_object('n', n)")
    trigger(connection, body, f"(OLD.args->>'n')::int IN ({', '.join(map(str, bad))})")
    with transaction(connection, **LIMITS):
        jobs = claim(TABLE, connection)
        rows: list[int | Settlement] = [
            job.id if job.id % 2 else Settlement(job.id, JobState.DISCARDED, 1, "x") for job in jobs
        ]
        failed = by_halves(
            connection, rows, lambda some: write_locked(connection, TABLE, feed(), some, {})
        )
    assert [item if isinstance(item, int) else item.id for item, _ in failed] == list(bad)
    assert all(reason in why for _, why in failed)
    left = states(connection)
    assert {id_ for id_, state in left.items() if state == "available"} == set(bad)
    assert len(left) == 50


def test_a_deferred_constraint_is_found_at_its_row(
    tables: Database, connection: psycopg.Connection[Any]
) -> None:
    fill(connection, 20, priority="1", args="jsonb_build_object('n', n)")
    trigger(connection, "RAISE 'not this one'", "(OLD.args->>'n')::int = 7", deferred=True)
    with transaction(connection, **LIMITS):
        rows: list[int | Settlement] = [job.id for job in claim(TABLE, connection)]
        failed = by_halves(
            connection, rows, lambda some: write_locked(connection, TABLE, feed(), some, {})
        )
    assert [(item, "not this one" in why) for item, why in failed] == [(7, True)]
    assert [id_ for id_, state in states(connection).items() if state == "available"] == [7]


def test_by_halves_writes_nothing_for_nothing(connection: psycopg.Connection[Any]) -> None:
    def write(items: Sequence[int]) -> int:
        raise AssertionError

    assert by_halves(connection, [], write) == []


def test_a_lost_connection_is_no_fault_of_a_row(
    tables: Database, connection: psycopg.Connection[Any]
) -> None:
    fill(connection, 4)

    def write(items: Sequence[int]) -> int:
        with tables.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        return TABLE.complete(connection, items)

    with pytest.raises(psycopg.OperationalError), transaction(connection, **LIMITS):
        by_halves(connection, [job.id for job in claim(TABLE, connection)], write)
    assert lost(connection)
    with tables.connect() as look:
        assert set(states(look).values()) == {"available"}


def test_the_server_ends_a_client_that_falls_silent(
    tables: Database, connection: psycopg.Connection[Any]
) -> None:
    fill(connection, 1)

    def fall_silent() -> None:
        with transaction(connection, idle=0.3, total=10.0):
            claim(TABLE, connection)
            assert not claim(TABLE, look)
            eventually(lambda: claim(TABLE, look))
            TABLE.complete(connection, [1])

    with tables.connect() as look:
        with pytest.raises(psycopg.Error):
            fall_silent()
        assert lost(connection)
        assert set(states(look).values()) == {"available"}


def test_the_server_ends_a_transaction_that_lasts(
    tables: Database, connection: psycopg.Connection[Any]
) -> None:
    if tables.server.major < 17:
        with transaction(connection, idle=5.0, total=0.2):
            connection.execute("SELECT pg_sleep(0.4)")
        return
    with (
        pytest.raises(psycopg.errors.TransactionTimeout),
        transaction(connection, idle=5.0, total=0.2),
    ):
        connection.execute("SELECT pg_sleep(5)")
    assert lost(connection)


def test_limits_end_with_their_transaction(connection: psycopg.Connection[Any]) -> None:
    names = ["idle_in_transaction_session_timeout", "statement_timeout"]
    if connection.info.server_version >= 170_000:
        names.append("transaction_timeout")

    def limits() -> list[str]:
        return [
            str(connection.execute("SELECT current_setting(%s)", (name,)).fetchone())
            for name in names
        ]

    before = limits()
    with transaction(connection, idle=5.0, total=10.0, statement=7.0):
        assert limits()[:2] == ["('5s',)", "('7s',)"]
    with (
        pytest.raises(psycopg.errors.QueryCanceled),
        transaction(connection, idle=5.0, total=9.0, statement=0.1),
    ):
        connection.execute("SELECT pg_sleep(5)")
    assert limits() == before
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_limits_that_cannot_be_set_leave_the_connection_usable(
    connection: psycopg.Connection[Any],
) -> None:
    with pytest.raises(psycopg.Error), transaction(connection, idle=1e9, total=1.0):
        raise AssertionError
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with transaction(connection, **LIMITS):
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_error_inside_rolls_back(connection: psycopg.Connection[Any]) -> None:
    fill(connection, 1)

    def fail() -> None:
        with transaction(connection, **LIMITS):
            TABLE.complete(connection, [1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert states(connection) == {1: "available"}
