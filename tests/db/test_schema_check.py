"""What `run` accepts at its start, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from riverbridge.errors import ConfigurationError, SchemaError
from riverbridge.sql.migrations import BRIDGE, migrations
from riverbridge.store.migrate import Migrator
from riverbridge.store.schema_check import check_schema
from tests.support.database import Database, new_name

Connection = psycopg.Connection[Any]

OURS = migrations(BRIDGE)[-1].version


@pytest.fixture
def dsn(empty_database: Database) -> str:
    return empty_database.dsn


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


def both(dsn: str, *, main: int = 7, schema: str | None = None) -> None:
    Migrator(dsn, schema=schema).up(target=main)
    Migrator(dsn, schema=schema, line=BRIDGE).up()


def refusal(conn: Connection, schema: str | None = None) -> str:
    with pytest.raises(SchemaError) as caught:
        check_schema(conn, schema)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("main", [6, 7])
def test_versions_that_are_served(dsn: str, conn: Connection, main: int) -> None:
    both(dsn, main=main)
    check_schema(conn, None)


def test_version_8_is_served_and_9_is_too_new(dsn: str, conn: Connection) -> None:
    both(dsn)
    conn.execute("INSERT INTO river_migration (line, version) VALUES ('main', 8)")
    check_schema(conn, None)
    conn.execute("INSERT INTO river_migration (line, version) VALUES ('main', 9)")
    message = refusal(conn)
    assert f"newer than this release knows (found: main 009, riverbridge {OURS:03}" in message
    assert f"needed: main 006 to 008, riverbridge {OURS:03}" in message


def test_a_newer_line_of_ours_is_refused(dsn: str, conn: Connection) -> None:
    both(dsn)
    newer = "INSERT INTO river_migration (line, version) VALUES ('riverbridge', %s)"
    conn.execute(newer, (OURS + 1,))
    assert f"found: main 007, riverbridge {OURS + 1:03}" in refusal(conn)


def test_an_old_main_line_is_refused(dsn: str, conn: Connection) -> None:
    both(dsn, main=5)
    message = refusal(conn)
    assert f"found: main 005, riverbridge {OURS:03}; needed: main 006 to 008" in message
    assert message.endswith("run: riverbridge migrate up")


def test_a_table_without_lines_is_read(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up(target=4)
    assert "found: main 004, riverbridge none" in refusal(conn)


def test_a_missing_line_of_ours_is_refused(dsn: str, conn: Connection) -> None:
    Migrator(dsn).up()
    conn.execute("INSERT INTO river_migration (line, version) VALUES ('workflow', 4)")
    message = refusal(conn)
    assert "found: main 007, riverbridge none" in message
    assert message.endswith("run: riverbridge migrate up")


def test_an_empty_database_is_refused(conn: Connection) -> None:
    message = refusal(conn)
    assert "River's tables are not there" in message
    assert message.endswith("run: riverbridge migrate up")
    assert refusal(conn, "nowhere").endswith("run: riverbridge migrate up --schema nowhere")


def test_only_the_named_schema_counts(dsn: str, conn: Connection) -> None:
    both(dsn)
    conn.execute("CREATE SCHEMA jobs")
    assert "in schema jobs" in refusal(conn, "jobs")
    both(dsn, schema="jobs")
    check_schema(conn, "jobs")
    conn.execute("DROP TABLE public.river_migration, public.riverbridge_route")
    check_schema(conn, "jobs")


def test_tables_managed_by_other_means_are_judged_by_their_columns(
    dsn: str, conn: Connection
) -> None:
    both(dsn)
    conn.execute("DROP TABLE river_migration")
    check_schema(conn, None)
    conn.execute("DROP TABLE riverbridge_route")
    message = refusal(conn)
    assert "versions of the tables are unknown, river_migration is absent" in message
    assert "riverbridge migrate get --line riverbridge --all --up" in message
    conn.execute("ALTER TABLE river_job DROP COLUMN unique_states CASCADE")
    message = refusal(conn)
    assert "column unique_states of river_job is missing" in message
    assert "riverbridge migrate get --line main --all --up" in message


def test_a_role_that_may_not_look_is_told_what_to_grant(dsn: str, conn: Connection) -> None:
    both(dsn)
    role = psycopg.sql.Identifier(new_name("stranger"))
    conn.execute(psycopg.sql.SQL("CREATE ROLE {}").format(role))
    try:
        conn.execute(psycopg.sql.SQL("SET ROLE {}").format(role))
        message = refusal(conn)
    finally:
        conn.execute("RESET ROLE")
        conn.execute(psycopg.sql.SQL("DROP ROLE {}").format(role))
    assert "SELECT on river_migration" in message


def test_it_reads_whatever_the_connection_returns_rows_as(dsn: str) -> None:
    both(dsn)
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as conn:
        check_schema(conn, None)


def test_a_bad_schema_name_is_refused_before_any_query(conn: Connection) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        check_schema(conn, 'a"b')
