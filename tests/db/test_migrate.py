"""Migrations on a real Postgres: order, gaps, refusals, and two migrators at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from riverbridge.errors import MigrationError
from riverbridge.sql import statement
from riverbridge.sql.migrations import BRIDGE, MAIN, migrations
from riverbridge.store.migrate import Migrator, Step, find_migration
from tests.support.database import Database
from tests.support.running import at_once
from tests.support.wait import eventually

Connection = psycopg.Connection[Any]
EVERYTHING = list(range(1, 8))
OURS = [migration.version for migration in migrations(BRIDGE)]


@pytest.fixture
def dsn(empty_database: Database) -> str:
    return empty_database.dsn


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


def numbers(steps: tuple[Step, ...]) -> list[int]:
    return [step.version for step in steps]


def applied(dsn: str, line: str = MAIN, schema: str | None = None) -> list[int]:
    listing = Migrator(dsn, schema=schema, line=line).list()
    return [listed.version for listed in listing if listed.applied]


def tables(conn: Connection, schema: str = "public") -> set[str]:
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace"
    return {row[0] for row in conn.execute(query, [f'"{schema}"'])}


def test_up_applies_both_lines_and_a_second_up_nothing(dsn: str, conn: Connection) -> None:
    told: list[Step] = []
    steps = Migrator(dsn).up(on_step=told.append)
    assert numbers(steps) == EVERYTHING
    assert tuple(told) == steps
    assert numbers(Migrator(dsn, line=BRIDGE).up()) == OURS
    assert tables(conn) == {
        "river_job",
        "river_leader",
        "river_migration",
        "river_notification",
        "river_queue",
        "riverbridge_audit",
        "riverbridge_history",
        "riverbridge_history_mark",
        "riverbridge_inbox",
        "riverbridge_operation",
        "riverbridge_pause",
        "riverbridge_periodic_job",
        "riverbridge_position",
        "riverbridge_process",
        "riverbridge_quarantine",
        "riverbridge_receipt",
        "riverbridge_replay",
        "riverbridge_route",
        "riverbridge_slot",
        "riverbridge_view",
    }
    assert Migrator(dsn).up() == ()
    assert Migrator(dsn, line=BRIDGE).up() == ()
    rows = conn.execute("SELECT line, version FROM river_migration ORDER BY line, version")
    expected = [(MAIN, version) for version in EVERYTHING] + [(BRIDGE, version) for version in OURS]
    assert rows.fetchall() == expected


def test_down_takes_one_step_unless_told_otherwise(dsn: str, conn: Connection) -> None:
    migrator = Migrator(dsn)
    migrator.up()
    assert numbers(migrator.down()) == [7]
    assert numbers(migrator.down(max_steps=2)) == [6, 5]
    assert numbers(migrator.down(max_steps=-1)) == []
    assert numbers(migrator.down(target=2)) == [4, 3]
    assert applied(dsn) == [1, 2]
    assert numbers(migrator.down(target=2)) == []
    assert numbers(migrator.down(target=-1)) == [2, 1]
    assert tables(conn) == set()
    assert migrator.down() == ()


def test_down_to_zero_is_everything(dsn: str, conn: Connection) -> None:
    migrator = Migrator(dsn)
    migrator.up()
    assert numbers(migrator.down(target=0)) == EVERYTHING[::-1]
    assert tables(conn) == set()


def test_up_stops_at_its_target_or_after_its_steps(dsn: str) -> None:
    migrator = Migrator(dsn)
    assert numbers(migrator.up(max_steps=-1)) == []
    assert numbers(migrator.up(max_steps=2)) == [1, 2]
    assert numbers(migrator.up(target=6, max_steps=3)) == [3, 4, 5]
    assert numbers(migrator.up(target=6)) == [6]
    assert numbers(migrator.up(target=3)) == []
    assert applied(dsn) == [1, 2, 3, 4, 5, 6]


def test_a_gap_is_filled(dsn: str, conn: Connection) -> None:
    migrator = Migrator(dsn)
    migrator.up()
    conn.execute(find_migration(MAIN, 6).sql("down").encode())
    conn.execute("DELETE FROM river_migration WHERE line = 'main' AND version = 6")
    assert migrator.validate() == (6,)
    # A target that is applied means there is nothing to do, as in River, whatever is below it.
    assert migrator.up(target=7) == ()
    assert numbers(migrator.up()) == [6]
    assert migrator.validate() == ()


def test_targets_that_make_no_sense_change_nothing(dsn: str) -> None:
    migrator = Migrator(dsn)
    migrator.up(target=5)
    for move in (migrator.up, migrator.down):
        with pytest.raises(MigrationError, match="has no version 8"):
            move(target=8)
    with pytest.raises(MigrationError, match=r"006 of line main is not applied.*001, 002, 003"):
        migrator.down(target=6)
    assert applied(dsn) == [1, 2, 3, 4, 5]


def test_foreign_lines_and_newer_versions_are_left_alone(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up()
    conn.execute("INSERT INTO river_migration (line, version) VALUES ('workflow', 3), ('main', 8)")
    migrator = Migrator(dsn)
    assert migrator.validate() == ()
    newest = migrator.list()[-1]
    assert (newest.version, newest.shipped, newest.applied, newest.current) == (
        8,
        False,
        True,
        True,
    )
    assert migrator.up() == ()
    with pytest.raises(MigrationError, match=r"below version 5 .*: workflow; take them down"):
        migrator.down(target=-1)
    # The refusal came before anything was taken back.
    assert applied(dsn) == [*EVERYTHING, 8]
    assert numbers(migrator.down(target=5)) == [7, 6]
    rows = conn.execute("SELECT version FROM river_migration WHERE line = 'workflow'").fetchall()
    assert rows == [(3,)]


def test_main_stays_at_5_while_our_line_is_there(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up()
    ours = Migrator(dsn, line=BRIDGE)
    ours.up()
    needed = "run first: riverbridge migrate down --line riverbridge --target-version -1"
    with pytest.raises(MigrationError, match=needed):
        Migrator(dsn).down(target=4)
    assert applied(dsn) == EVERYTHING
    assert numbers(ours.down(target=-1)) == OURS[::-1]
    assert numbers(Migrator(dsn).down(target=4)) == [7, 6, 5]


def test_the_sql_of_version_5_refuses_by_itself(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up(target=5)
    conn.execute("INSERT INTO river_migration (line, version) VALUES ('sequence', 1)")
    with pytest.raises(psycopg.errors.RaiseException, match=r"other than main .*: sequence"):
        conn.execute(find_migration(MAIN, 5).sql("down").encode())
    assert applied(dsn) == [1, 2, 3, 4, 5]


def test_our_line_needs_version_5_of_main(dsn: str, conn: Connection) -> None:
    ours = Migrator(dsn, line=BRIDGE)
    first = "run first: riverbridge migrate up --line main"
    with pytest.raises(MigrationError, match=first):
        ours.up()
    Migrator(dsn).up(target=4)
    with pytest.raises(MigrationError, match=first):
        ours.up()
    assert "riverbridge_process" not in tables(conn)
    assert ours.validate() == tuple(OURS)


def test_versions_below_5_are_recorded_without_a_line(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up(target=4)
    rows = conn.execute("SELECT id, version FROM river_migration ORDER BY id").fetchall()
    assert rows == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert applied(dsn) == [1, 2, 3, 4]
    assert applied(dsn, BRIDGE) == []


def test_a_schema_is_used_and_no_other(dsn: str, conn: Connection) -> None:
    conn.execute('CREATE SCHEMA "Jobs_A"')
    Migrator(dsn).up(target=3)
    before = tables(conn)
    named = Migrator(dsn, schema="Jobs_A")
    assert numbers(named.up()) == EVERYTHING
    assert numbers(Migrator(dsn, schema="Jobs_A", line=BRIDGE).up()) == OURS
    assert tables(conn) == before
    assert {"river_job", "riverbridge_route"} <= tables(conn, "Jobs_A")
    assert applied(dsn) == [1, 2, 3]
    with pytest.raises(MigrationError, match="migrate down --line riverbridge --schema Jobs_A"):
        named.down(target=-1)
    Migrator(dsn, schema="Jobs_A", line=BRIDGE).down(target=-1)
    named.down(target=-1)
    assert tables(conn, "Jobs_A") == set()
    assert applied(dsn) == [1, 2, 3]


def test_a_schema_that_is_not_there_is_named(dsn: str) -> None:
    with pytest.raises(MigrationError, match=r'"nowhere" does not exist; create it first'):
        Migrator(dsn, schema="nowhere").up()


def test_a_dry_run_tells_and_does_nothing(dsn: str, conn: Connection) -> None:
    assert numbers(Migrator(dsn).up(dry_run=True)) == EVERYTHING
    assert tables(conn) == set()
    Migrator(dsn).up()
    assert numbers(Migrator(dsn).down(target=-1, dry_run=True)) == EVERYTHING[::-1]
    assert applied(dsn) == EVERYTHING


def test_a_failing_version_is_rolled_back_whole(dsn: str, conn: Connection) -> None:
    conn.execute("CREATE TABLE river_queue (mine int)")
    with pytest.raises(MigrationError, match=r"migration 004 \[up\].*rolled back.*river_queue"):
        Migrator(dsn).up()
    assert applied(dsn) == [1, 2, 3]
    trigger = conn.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'river_notify'")
    assert trigger.fetchone() == (1,)
    conn.execute("DROP TABLE river_queue")
    assert numbers(Migrator(dsn).up()) == [4, 5, 6, 7]


def test_a_held_table_ends_the_wait(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up(target=6)
    with conn.transaction():
        conn.execute("LOCK TABLE river_job IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="another session holds a lock"):
            Migrator(dsn, lock_timeout=0.2).up()
    assert applied(dsn) == [1, 2, 3, 4, 5, 6]
    assert numbers(Migrator(dsn, lock_timeout=0.2).up()) == [7]


def test_a_server_that_drops_the_connection_is_an_error(dsn: str, conn: Connection) -> None:
    def connect() -> Connection:
        opened: Connection = psycopg.connect(dsn)
        conn.execute(
            "CREATE OR REPLACE FUNCTION cut() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END$$"
        )
        conn.execute("CREATE EVENT TRIGGER cut ON ddl_command_end EXECUTE FUNCTION cut()")
        return opened

    with pytest.raises(MigrationError, match="lost its connection and may or may not be done"):
        Migrator(connect).up()
    conn.execute("DROP EVENT TRIGGER cut")
    assert applied(dsn) == []


def test_many_migrators_at_once_apply_each_version_once(dsn: str) -> None:
    together = threading.Barrier(4)
    done: list[list[int]] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            together.wait(10)
            main = numbers(Migrator(dsn).up())
            ours = numbers(Migrator(dsn, line=BRIDGE).up())
            done.append(main + [100 + version for version in ours])
        except BaseException as error:
            failed.append(error)

    at_once(*[work] * 4)
    assert failed == []
    assert len(done) == 4
    ours = [100 + version for version in OURS]
    assert sorted(version for each in done for version in each) == EVERYTHING + ours
    assert applied(dsn) == EVERYTHING


def waiting_for_the_lock(conn: Connection) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    row = conn.execute(query).fetchone()
    return row is not None and row[0] > 0


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_versions_are_read_again_after_the_lock(dsn: str, conn: Connection, isolation: str) -> None:
    """A deploy that waited for another one sees what that one did, in whatever isolation."""
    conn.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
            sql.Identifier(conn.info.dbname), isolation
        )
    )
    result: list[list[int]] = []
    thread = threading.Thread(target=lambda: result.append(numbers(Migrator(dsn).up(target=2))))
    with psycopg.connect(dsn, autocommit=True) as other, other.transaction():
        other.execute(statement("migration/lock"))
        thread.start()
        eventually(lambda: waiting_for_the_lock(conn))
        other.execute(find_migration(MAIN, 1).sql("up").encode())
        other.execute(statement("migration/record_unlined"), {"version": 1})
    thread.join(30)
    assert result == [[2]]


def test_two_downs_at_once_take_one_step_back(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up()
    result: list[list[int]] = []
    thread = threading.Thread(target=lambda: result.append(numbers(Migrator(dsn).down())))
    with conn.transaction():
        conn.execute(statement("migration/lock"))
        thread.start()
        with psycopg.connect(dsn, autocommit=True) as watcher:
            eventually(lambda: waiting_for_the_lock(watcher))
        conn.execute(find_migration(MAIN, 7).sql("down").encode())
        conn.execute(statement("migration/forget"), {"line": MAIN, "version": 7})
    thread.join(30)
    assert result == [[]]
    assert applied(dsn) == [1, 2, 3, 4, 5, 6]


def test_the_wait_for_another_migrator_ends(dsn: str, conn: Connection) -> None:
    with conn.transaction():
        conn.execute(statement("migration/lock"))
        with pytest.raises(MigrationError, match="rolled back"):
            Migrator(dsn, statement_timeout=0.3).up()
    assert applied(dsn) == []


def test_tables_managed_by_other_means_are_not_migrated(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up()
    conn.execute("DROP TABLE river_migration")
    with pytest.raises(MigrationError, match="managed by other means"):
        Migrator(dsn).up()
    assert "river_migration" not in tables(conn)
    with pytest.raises(MigrationError, match="needs version 5 of line main"):
        Migrator(dsn, line=BRIDGE).up()


def test_given_connections_are_closed(dsn: str) -> None:
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(psycopg.connect(dsn))
        return opened[-1]

    migrator = Migrator(connect)
    migrator.up(target=1)
    assert [listed.applied for listed in migrator.list()[:2]] == [True, False]
    assert [one.closed for one in opened] == [True, True]
