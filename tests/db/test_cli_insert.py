"""`riverbridge insert` as a user sees it: the id, exit codes, and no password."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from riverbridge import JobState, UniqueOpts, unique_key
from riverbridge.cli.insert import insert
from tests.support.database import Database


def run(dsn: str | None, *args: str, stdin: str | bytes | None = None) -> Result:
    environment = {"DATABASE_URL": dsn, "RIVERBRIDGE_SCHEMA": None}
    result = CliRunner().invoke(insert, args, input=stdin, env=environment)
    assert "Traceback" not in result.output
    return result


def row(database: Database, columns: str) -> tuple[Any, ...]:
    with database.connect() as connection:
        rows = connection.execute(f"SELECT {columns} FROM river_job".encode()).fetchall()
    assert len(rows) == 1
    return rows[0]


def test_the_id_is_printed(database: Database) -> None:
    result = run(database.dsn, "order.placed", '{"a": 1}')
    assert result.exit_code == 0, result.output
    assert row(database, "id::text, kind, args, state::text, queue, max_attempts") == (
        result.stdout.strip(),
        "order.placed",
        {"a": 1},
        "available",
        "default",
        25,
    )


def test_every_option_reaches_the_row(database: Database) -> None:
    options = ["--queue=q1", "--priority=3", "--max-attempts=7", "--tag=abc", "--tag=def"]
    options += ['--metadata={"m": 1.5}', "--scheduled-at=2030-01-02T03:04:05+01:00"]
    result = run(database.dsn, "k", "-", *options, "--json", stdin='{"é": 1}')
    assert result.exit_code == 0, result.output
    assert row(database, "args, state::text, queue, priority, max_attempts, tags, metadata") == (
        *({"é": 1}, "scheduled", "q1", 3, 7, ["abc", "def"], {"m": 1.5}),
    )
    job = json.loads(result.stdout)["job"]
    assert (job["id"], job["queue"], job["state"]) == (*row(database, "id"), "q1", "scheduled")
    assert job["scheduled_at"] == "2030-01-02T02:04:05Z"


def test_a_pending_job_waits(database: Database) -> None:
    assert run(database.dsn, "k", "{}", "--pending", "--scheduled-at=+1h").exit_code == 0
    assert row(database, "state::text") == ("pending",)


@pytest.mark.parametrize(
    ("options", "opts"),
    [
        (["--unique-by-args"], UniqueOpts(by_args=True)),
        (["--unique-by-arg", "b.c", "--unique-by-arg", "a"], UniqueOpts(by_args=["a", "b.c"])),
        (["--unique-by-period", "36500d"], UniqueOpts(by_period=timedelta(36500))),
        (
            ["--unique-by-queue", "--unique-exclude-kind"],
            UniqueOpts(by_queue=True, exclude_kind=True),
        ),
        ([f"--unique-by-state={state}" for state in JobState], UniqueOpts(by_state=list(JobState))),
    ],
)
def test_a_unique_job_is_inserted_once(
    database: Database, options: list[str], opts: UniqueOpts
) -> None:
    args = '{"b":{"c":1},"a":2}'
    first = run(database.dsn, "k", args, *options)
    again = run(database.dsn, "k", args, *options)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert again.stdout == first.stdout
    assert (first.stderr, again.stderr) == (
        "", f"job {first.stdout.strip()} was there already: nothing was inserted\n",
    )  # fmt: skip
    assert json.loads(run(database.dsn, "k", args, *options, "--json").stdout)[
        "unique_skipped_as_duplicate"
    ]
    key, states = row(database, "unique_key, unique_states::text")
    now = datetime.now(UTC)
    assert key == unique_key("k", args, queue="default", unique_opts=opts, now=now)
    assert int(states, 2) == opts.state_mask()


@pytest.mark.parametrize(
    ("delay", "seconds"), [("+8s", 8), ("+1500ms", 1.5), ("+1.5h", 5400), ("+2m", 120)]
)
def test_a_delay_counts_from_the_databases_now(
    database: Database, delay: str, seconds: float
) -> None:
    assert run(database.dsn, "k", "{}", "--scheduled-at", delay).exit_code == 0
    (created, scheduled, state) = row(database, "created_at, scheduled_at, state::text")
    assert state == "scheduled"
    # now() is read just before the transaction that inserts.
    assert seconds - 5 < (scheduled - created).total_seconds() <= seconds


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["k"], "Missing argument 'ARGS'"),
        (["k", "[]"], "args: must be a JSON object"),
        (["", "{}"], "kind: has 0 characters"),
        (["k", "{}", "--queue", "A B"], "queue: 'A B' is not allowed"),
        (["k", "{}", "--priority", "5"], "priority: 5 is out of range: use 1 to 4"),
        (["k", "{}", "--priority", "x"], "not a valid integer"),
        (["k", "{}", "--tag", "a,b"], "tags[0]: 'a,b' is not allowed"),
        (["k", "{}", "--metadata", "[]"], "metadata: must be a JSON object"),
        (["k", "{}", "--scheduled-at", "tomorrow"], "neither an instant such as"),
        (["k", "{}", "--scheduled-at", "2030-01-02T03:04:05"], "has no time zone"),
        (["k", "{}", "--scheduled-at", "+999999999d"], "year 9999"),
        (["k", "{}", "--scheduled-at", "+99999999h"], "year 9999"),
        (["k", "{}", "--scheduled-at", "+8"], "neither an instant such as"),
        (["k", "{}", "--unique-by-args", "--unique-by-arg", "a"], "is for all args"),
        (["k", "{}", "--unique-exclude-kind"], "goes with another --unique option"),
        (["k", "{}", "--unique-by-period", "1"], "'1' is no duration such as 15m"),
        (["k", "{}", "--unique-by-period", "10ms"], "use 1 second to 292 years"),
        (["k", "{}", "--unique-by-state", "done"], "'done' is not one of"),
        (["k", "{}", "--unique-by-state", "running"], "missing: available, pending, scheduled"),
        (["k", "{}", "--unique-by-arg", "a..b"], "unique_opts.by_args[0]"),
    ],
)
def test_wrong_usage_is_2_and_inserts_nothing(
    database: Database, args: list[str], says: str
) -> None:
    result = run(database.dsn, *args)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    with database.connect() as connection:
        assert connection.execute("SELECT id FROM river_job").fetchall() == []


def test_standard_input_that_is_no_utf8_is_2(database: Database) -> None:
    result = run(database.dsn, "k", "-", stdin=b'{"a": "\xff"}')
    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


def test_wrong_configuration_is_78(empty_database: Database) -> None:
    for dsn, says, more in [
        (None, "set DATABASE_URL", []),
        ("postgresql://u:se@cret@h/d", "write %40", []),
        (empty_database.dsn, "riverbridge migrate up", []),
        (empty_database.dsn, "schema name 'a b' is not allowed", ["--schema", "a b"]),
        (empty_database.dsn, "riverbridge migrate up", ["--schema", "nowhere"]),
    ]:
        result = run(dsn, "k", "{}", *more)
        assert result.exit_code == 78, result.output
        assert says in result.stderr
        assert "cret" not in result.output


def test_a_database_out_of_reach_is_1_and_shows_no_password() -> None:
    result = run("postgresql://u:hush@127.0.0.1:1/d", "k", "{}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: database: ")
    assert "hush" not in result.output


def test_a_refusal_of_the_database_is_1(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("ALTER TABLE river_job ADD CONSTRAINT no CHECK (kind <> 'k')")
    result = run(database.dsn, "k", "{}")
    assert result.exit_code == 1
    assert "violates check constraint" in result.stderr


def test_the_json_times_are_the_rows(database: Database) -> None:
    result = run(database.dsn, "k", "{}", "--json")
    printed = json.loads(result.stdout)["job"]["created_at"]
    assert datetime.fromisoformat(printed) == row(database, "created_at")[0].astimezone(UTC)
