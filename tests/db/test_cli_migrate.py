"""`riverbridge migrate` as a user sees it: output lines, exit codes, and no password."""

from __future__ import annotations

import json
import re
import socket

import psycopg
import pytest
from click.testing import CliRunner, Result

from riverbridge.cli.migrate import migrate
from riverbridge.sql.migrations import BRIDGE, migrations
from tests.support.database import Database

OURS = [f"{one.version:03} {one.name}" for one in migrations(BRIDGE)]


@pytest.fixture
def dsn(empty_database: Database) -> str:
    return empty_database.dsn


def run(dsn: str | None, *args: str) -> Result:
    environment = {"DATABASE_URL": dsn, "RIVERBRIDGE_SCHEMA": None}
    return CliRunner().invoke(migrate, args, env=environment)


def good(dsn: str | None, *args: str) -> list[str]:
    result = run(dsn, *args)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout.splitlines()


def refused(code: int, dsn: str | None, *args: str) -> str:
    result = run(dsn, *args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_up_runs_both_lines_then_nothing(dsn: str) -> None:
    assert good(dsn, "up", "--dry-run") == [
        *(f"migration {version:03} [up] [DRY RUN]" for version in range(1, 8)),
        *(f"migration {version:03} [up] [DRY RUN]" for version in range(1, len(OURS) + 1)),
    ]
    lines = good(dsn, "up")
    assert len(lines) == 7 + len(OURS)
    width = len("notification outbox sqlite jsonb and sql cleanup")
    six = re.escape("applied migration 006 [up] " + "bulk unique".ljust(width))
    assert re.fullmatch(six + r" \[[0-9]+\.[0-9]{2}m?s\]", lines[5])
    assert re.match(r"applied migration 001 \[up\] bridge tables +\[", lines[7])
    assert good(dsn, "up") == ["no migrations to apply"]
    assert good(dsn, "up", "--dry-run") == ["no migrations to apply"]


def test_a_dry_run_does_not_repeat_a_line_that_is_there(dsn: str) -> None:
    good(dsn, "up")
    good(dsn, "down")
    assert good(dsn, "up", "--dry-run") == ["migration 007 [up] [DRY RUN]"]


def test_a_target_or_steps_mean_main_only(dsn: str) -> None:
    assert len(good(dsn, "up", "--target-version", "5")) == 5
    lines = good(dsn, "up", "--max-steps", "3")
    assert len(lines) == 3
    assert lines[-1] == "no more migrations to apply"
    assert good(dsn, "list", "--line", "riverbridge") == OURS


def test_show_sql_prints_what_runs(dsn: str) -> None:
    lines = good(dsn, "up", "--target-version", "1", "--show-sql")
    assert lines[1] == "-" * 80
    assert lines[2] == "-- River main migration 001 [up]"
    assert lines[3] == "CREATE TABLE river_migration ("


def test_list_marks_the_current_version(dsn: str) -> None:
    assert good(dsn, "list", "--line", "main")[0] == "001 create river migration"
    good(dsn, "up", "--target-version", "2")
    assert good(dsn, "list", "--line", "main")[:3] == [
        "  001 create river migration",
        "* 002 initial schema",
        "  003 river job tags non null",
    ]
    both = good(dsn, "list")
    assert both[0] == "main"
    assert both[-len(OURS) - 1 :] == ["riverbridge", *OURS]


def test_list_as_json(dsn: str) -> None:
    good(dsn, "up")
    listed = json.loads("\n".join(good(dsn, "list", "--json")))
    assert [(row["line"], row["version"]) for row in listed if row["current"]] == [
        ("main", 7),
        ("riverbridge", len(OURS)),
    ]
    assert all(row["applied"] and row["shipped"] for row in listed)


def test_validate_says_what_is_missing(dsn: str) -> None:
    good(dsn, "up", "--target-version", "5")
    error = refused(1, dsn, "validate")
    assert "line main: Unapplied migrations: [6 7]" in error
    numbers = " ".join(str(one + 1) for one in range(len(OURS)))
    assert f"line riverbridge: Unapplied migrations: [{numbers}]" in error
    good(dsn, "up")
    assert good(dsn, "validate") == []


def test_down_needs_our_line_gone_first(dsn: str) -> None:
    good(dsn, "up")
    error = refused(1, dsn, "down", "--target-version", "4")
    command = re.search(r"run first: riverbridge migrate (.*)", error)
    assert command is not None
    # The command it names does the job, as it stands.
    assert len(good(dsn, *command[1].split())) == len(OURS)
    assert len(good(dsn, "down", "--target-version", "-1")) == 7
    assert good(dsn, "down") == ["no migrations to apply"]


def test_the_schema_option_and_its_variable(dsn: str) -> None:
    assert '"jobs" does not exist' in refused(1, dsn, "up", "--schema", "jobs")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA jobs")
    good(dsn, "up", "--schema", "jobs")
    refused(1, dsn, "validate")
    environment = {"DATABASE_URL": dsn, "RIVERBRIDGE_SCHEMA": "jobs"}
    assert CliRunner().invoke(migrate, ["validate"], env=environment).exit_code == 0
    for name in ("x" * 47, 'a"b'):
        assert "schema name" in refused(78, dsn, "up", "--schema", name)
        assert "schema name" in refused(78, None, "get", "--all", "--up", "--schema", name)


def test_get_prints_sql_that_works_by_hand(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for version in range(2, 8):
            text = good(None, "get", "--version", str(version), "--up")
            conn.execute("\n".join(text).encode())
        ours = good(None, "get", "--line", "riverbridge", "--all", "--up")
        conn.execute("\n".join(ours).encode())
        row = conn.execute("SELECT to_regclass('river_job'), to_regclass('riverbridge_route')")
        assert row.fetchone() == ("river_job", "riverbridge_route")
        down = good(None, "get", "--all", "--exclude-version", "1", "--down")
        conn.execute("\n".join(down).encode())
        left = conn.execute("SELECT to_regclass('river_job')").fetchone()
    assert left == (None,)
    assert [line for line in down if line.startswith("-- River")] == [
        f"-- River main migration {version:03} [down]" for version in range(7, 1, -1)
    ]


def test_get_several_versions_with_a_blank_line_between() -> None:
    lines = good(None, "get", "--version", "3,1", "--down", "--schema", "jobs")
    second = lines.index("-- River main migration 001 [down]")
    assert lines[0] == "-- River main migration 003 [down]"
    assert lines[second - 1 : second + 2] == [
        "",
        lines[second],
        'DROP TABLE "jobs".river_migration;',
    ]


@pytest.mark.parametrize(
    "args",
    [
        ("get", "--all"),
        ("get", "--up"),
        ("get", "--all", "--up", "--down"),
        ("get", "--all", "--version", "1", "--up"),
        ("get", "--version", "one", "--up"),
        ("get", "--version", "", "--up"),
        ("get", "--version", "1", "--exclude-version", "2", "--up"),
        ("up", "--line", "workflow"),
        ("up", "--target-version", "x"),
        ("sideways",),
    ],
)
def test_wrong_usage(args: tuple[str, ...]) -> None:
    assert "Error: " in refused(2, None, *args)


def test_unknown_versions_fail(dsn: str) -> None:
    assert "no version 8" in refused(1, None, "get", "--version", "8", "--up")
    assert "no version 9" in refused(1, None, "get", "--all", "--exclude-version", "9", "--up")
    assert "no version 8" in refused(1, dsn, "up", "--target-version", "8")
    assert "no version 0" in refused(1, dsn, "up", "--target-version", "0")


@pytest.mark.parametrize("command", ["up", "down", "list", "validate"])
def test_without_a_usable_url_the_configuration_is_wrong(command: str) -> None:
    assert "DATABASE_URL" in refused(78, None, command)
    error = refused(78, "postgresql://app:s3@cret@db/x", command)
    assert "%40" in error
    assert "cret" not in error


@pytest.mark.parametrize("command", ["up", "down", "list", "validate"])
def test_a_failed_connection_is_one_line(command: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://app:s3cret@127.0.0.1:{free.getsockname()[1]}/x"
        error = refused(1, url, command)
    assert error.startswith("error: database: ")
    assert len(error.splitlines()) == 1
    assert "s3cret" not in error


def test_help_never_shows_the_url() -> None:
    result = run("postgresql://app:s3cret@db/x", "up", "--help")
    assert result.exit_code == 0
    assert "DATABASE_URL" in result.output
    assert "s3cret" not in result.output
