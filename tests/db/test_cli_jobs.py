"""`riverbridge jobs` and `queues` as a user sees them: what is shown, asked and changed."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from riverbridge.cli import main
from riverbridge.cli.job_changes import BATCH
from tests.support.database import Database
from tests.support.jobs import add, fill


def run(database: Database, *args: object, answer: str = "") -> Result:
    environment = {"DATABASE_URL": database.dsn, "RIVERBRIDGE_SCHEMA": None}
    result = CliRunner().invoke(main, [str(arg) for arg in args], input=answer, env=environment)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def look(tables: Database) -> Any:
    with tables.connect() as connection:
        yield connection


def states(look: psycopg.Connection[Any]) -> dict[int, str]:
    rows = look.execute("SELECT id, state::text FROM river_job ORDER BY id").fetchall()
    return {id: state for id, state in rows}  # noqa: C416 - mypy would take dict() for another type


def ids(result: Result) -> list[int]:
    """The ids of a table or of JSON lines."""
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    if lines and lines[0].startswith("id "):
        return [int(line.split()[0]) for line in lines[1:]]
    return [json.loads(line)["id"] for line in lines]


def test_every_filter_and_order_of_the_list(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    add(look, kind="'order'", queue="'a'", priority="2", tags="'{abc,def}'")
    add(look, kind="'mail'", queue="'b'", metadata="""'{"a": {"b": 1}}'""", tags="'{abc}'")
    add(look, state="'completed'", finalized_at="now()", scheduled_at="'2020-01-01Z'")
    add(
        look,
        state="'discarded'",
        finalized_at="now() - interval '1 h'",
        scheduled_at="'2019-01-01Z'",
    )
    for options, found in [
        ([], [1, 2, 3, 4]),
        (["--kind", "order", "--kind", "mail"], [1, 2]),
        (["--kind", "order", "--queue", "b"], []),
        (["--priority", "2", "--queue", "a"], [1]),
        (["--tag", "abc", "--tag", "def"], [1]),
        (["--any-tag", "def", "--any-tag", "abc"], [1, 2]),
        (["--metadata", '{"a": {"b": 1}}'], [2]),
        (["--id", "3", "--id", "9"], [3]),
        (["--state", "available", "--descending"], [2, 1]),
        (["--order-by", "scheduled_at"], [4, 3, 1, 2]),
        (["--order-by", "finalized_at", "--descending"], [3, 4]),
        (["--order-by", "time", "--state", "discarded", "--state", "completed"], [4, 3]),
    ]:
        assert ids(run(tables, "jobs", "list", *options)) == found, options
        assert ids(run(tables, "jobs", "list", "--json", *options)) == found, options


def test_a_list_goes_on_where_the_last_ended(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 5)
    met = []
    after: list[str] = []
    while page := run(tables, "jobs", "list", "--limit", 2, "--json", *after):
        met += ids(page)
        if not page.stderr:
            break
        assert page.stderr.startswith("more: --after ")
        after = page.stderr.removeprefix("more: ").split()
    assert met == [1, 2, 3, 4, 5]


def test_a_job_is_shown_whole_and_no_terminal_obeys_it(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    failure = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "no\x1b[2J", "trace": "a\nb"}
    id = add(
        look,
        kind="E'k\\x1b]0;x\\x07\\r'",
        queue="E'a\\u202eb'",
        tags="'{abc}'",
        args="""'{"a": "\\u001b[31m\\u0085\\u2028"}'""",
        errors=f"ARRAY['{json.dumps(failure)}']::jsonb[]",
        attempted_by="'{me}'",
        unique_key=r"'\x00ff'",
        unique_states="'00000001'",
    )
    shown = run(tables, "jobs", "show", id)
    for text in (
        r"kind:         k\u001b]0;x\u0007\r", r"queue:        a\u202eb", "attempted by: me",
        "unique key:   00ff", "unique in:    available", "tags:         abc",
        "error of attempt 1, 2026-01-02 03:04:05Z:", r"  no\u001b[2J", "  a\n  b\n",
        r'"a": "\u001b[31m\u0085\u2028"',
    ):  # fmt: skip
        assert text in shown.stdout
    table = run(tables, "jobs", "list")
    lines = run(tables, "jobs", "show", id, "--json")
    for output in (shown.stdout, table.stdout, lines.stdout):
        assert all(char.isprintable() or char == "\n" for char in output)
    job = json.loads(lines.stdout)
    assert (job["queue"], job["args"]) == ("a\u202eb", {"a": "\x1b[31m\x85\u2028"})


def test_named_jobs_are_changed_without_a_question(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 3)
    add(look, state="'running'")
    result = run(tables, "jobs", "cancel", 1, 99, 4, 1)
    assert result.exit_code == 1
    assert result.stdout == "job 1: cancelled\njob 4: running, its worker was told\n"
    assert result.stderr.startswith("error: job 99 is not there")
    assert run(tables, "jobs", "retry", 1).stdout == "job 1: available\n"
    result = run(tables, "jobs", "delete", 4, 2)
    assert (result.exit_code, result.stdout) == (1, "job 2: deleted\n")
    assert "error: job 4 is running" in result.stderr
    assert states(look) == {1: "available", 3: "available", 4: "running"}
    assert json.loads(run(tables, "jobs", "delete", 3, "--json").stdout)["id"] == 3
    assert run(tables, "jobs", "cancel", 1, 98, "--dry-run").stdout == "would cancel 1 job\n"
    assert states(look)[1] == "available"


def test_many_are_counted_asked_about_and_changed(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    """More than one batch, and what does not match stays."""
    count = BATCH + 3
    fill(look, count, kind="'a'")
    fill(look, 2, kind="'b'")
    asked = run(tables, "jobs", "cancel", "--kind", "a", answer="n\n")
    assert asked.exit_code == 1
    assert f"cancel {count} jobs? [y/N]" in asked.stderr
    assert run(tables, "jobs", "cancel", "--kind", "a").exit_code == 1  # nobody there to ask
    tried = run(tables, "jobs", "cancel", "--kind", "a", "--dry-run")
    assert (tried.exit_code, tried.stdout) == (0, f"would cancel {count} jobs\n")
    assert set(states(look).values()) == {"available"}
    done = run(tables, "jobs", "cancel", "--kind", "a", answer="y\n")
    assert (done.exit_code, done.stdout) == (0, f"{count} jobs: cancelled\n")
    assert [id for id, state in states(look).items() if state == "available"] == [
        count + 1, count + 2,
    ]  # fmt: skip
    again = run(tables, "jobs", "cancel", "--kind", "a", "--yes")
    assert (again.exit_code, again.stdout) == (0, "no job matches\n")
    few = run(tables, "jobs", "retry", "--kind", "a", "--yes", "--limit", 2, "--json")
    assert [json.loads(line)["id"] for line in few.stdout.splitlines()] == [1, 2]
    assert run(tables, "jobs", "delete", "--all", "--yes").stdout == f"{count + 2} jobs: deleted\n"
    assert states(look) == {}


def test_which_states_a_change_is_about(tables: Database, look: psycopg.Connection[Any]) -> None:
    """Finished jobs are not run again, nor waiting ones hurried, unless their state is named."""
    finished = {"finalized_at": "now()"}
    for state in ("available", "pending", "retryable", "running", "scheduled"):
        add(look, state=f"'{state}'", scheduled_at="now() + interval '1 h'")
    for state in ("cancelled", "completed", "discarded"):
        add(look, state=f"'{state}'", **finished)
    for change, count in (("cancel", 5), ("retry", 3), ("delete", 7)):
        told = run(tables, "jobs", change, "--all", "--dry-run")
        assert told.stdout == f"would {change} {count} jobs\n"
    assert run(tables, "jobs", "retry", "--all", "--yes").stdout == "3 jobs: available\n"
    left = run(tables, "jobs", "retry", "--state", "completed", "--yes")
    assert left.stdout == "1 job: available\n"
    assert run(tables, "jobs", "cancel", "--state", "completed").exit_code == 2
    done = run(tables, "jobs", "cancel", "--queue", "q", "--yes").stdout
    assert done == "7 jobs: cancelled\n1 job: running, its worker was told\n"


def test_what_is_in_work_or_in_conflict_is_left_alone_and_said(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 2, state="'cancelled'", finalized_at="now()")
    key = {"unique_key": r"'\xff'", "unique_states": "'10110001'"}
    conflict = add(look, state="'cancelled'", finalized_at="now()", **key)
    holder = add(look, **key)
    # Of jobs that have one key the first takes it, and the others meet it there.
    twins = {"state": "'discarded'", "finalized_at": "now()", "unique_states": "'10110001'"}
    fill(look, 3, unique_key=r"'\x00'", **twins)
    fill(look, 2, unique_key=r"'\x01'", **(twins | {"unique_states": "NULL"}))
    fill(look, 2, unique_key=r"'\x02'", **(twins | {"unique_states": "'00000100'"}))
    with tables.connect(autocommit=False) as lane:
        lane.execute("SELECT FROM river_job WHERE id = 1 FOR UPDATE")
        result = run(tables, "jobs", "retry", "--all", "--yes")
    assert (result.exit_code, result.stdout) == (1, "6 jobs: available\n")
    for id, other in ((conflict, holder), (6, 5), (7, 5)):
        assert f"job {id} cannot become available: job {other} has its unique key" in result.stderr
    assert "error: 4 jobs left alone" in result.stderr
    left = [id for id, state in states(look).items() if state != "available"]
    assert left == [1, conflict, 6, 7]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["delete"], "give ids, or filters, or --all"),
        (["delete", "1", "--kind", "k"], "give ids, or filters, or --all"),
        (["delete", "--all", "--kind", "k"], "give ids, or filters, or --all"),
        (["delete", "1", "--limit", "5"], "--limit goes with filters"),
        (["delete", "x"], "'x' is not a valid integer"),
        (["delete", "--state", "running"], "'running' is not one of"),
        (["cancel", "99999999999999999999"], "id: 99999999999999999999 is out of range"),
        (["list", "--metadata", "[]"], "metadata: must be a JSON object"),
        (["list", "--after", "x"], "after: is no cursor"),
        (["list", "--order-by", "finalized_at", "--state", "running"], "only in finished jobs"),
        (["list", "--limit", "10001"], "is not in the range 1<=x<=10000"),
        (["show"], "Missing argument 'ID'"),
    ],
)
def test_wrong_usage_is_2(
    tables: Database, look: psycopg.Connection[Any], args: list[str], says: str
) -> None:
    id = add(look)
    result = run(tables, "jobs", *args)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.stderr.split())
    assert states(look) == {id: "available"}


def test_what_is_not_there_is_1_and_what_is_not_set_up_78(
    tables: Database, empty_database: Database
) -> None:
    for args in (["jobs", "show", 5], ["queues", "show", "none"], ["queues", "pause", "none"]):
        result = run(tables, *args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "is not there" in result.stderr
    for args in (["jobs", "list"], ["queues", "list"], ["jobs", "list", "--schema", "a b"]):
        assert run(empty_database, *args).exit_code == 78
    hush = "postgresql://u:hush@127.0.0.1:1/d"
    result = CliRunner().invoke(main, ["jobs", "list", "--database-url", hush])
    assert result.exit_code == 1
    assert "hush" not in result.output
    result = CliRunner().invoke(main, ["queues", "list"], env={"DATABASE_URL": None})
    assert result.exit_code == 78
    assert "set DATABASE_URL" in result.stderr


def test_queues(tables: Database, look: psycopg.Connection[Any]) -> None:
    look.execute(
        "INSERT INTO river_queue (name, created_at, metadata, updated_at) VALUES"
        " ('a', now(), '{}', now()), (E'b\\x1b', now(), '{\"m\": 1}', '2026-01-02 03:04:05Z')"
    )
    listed = run(tables, "queues", "list").stdout.splitlines()
    assert listed[0].split() == ["queue", "paused", "at", "reported", "at", "metadata"]
    assert [line.split()[0] for line in listed[1:]] == ["a", r"b\u001b"]
    assert listed[2].endswith('2026-01-02 03:04:05Z  {"m":1}')
    assert run(tables, "queues", "pause", "a").stdout == "paused a\n"
    lines = run(tables, "queues", "list", "--json").stdout.splitlines()
    assert [bool(json.loads(line)["paused_at"]) for line in lines] == [True, False]
    assert run(tables, "queues", "pause", "*").stdout == "paused *\n"
    assert json.loads(run(tables, "queues", "show", "b\x1b", "--json").stdout)["paused_at"]
    assert run(tables, "queues", "resume", "a", "b\x1b").exit_code == 0
    lines = run(tables, "queues", "list", "--json", "--limit", 2).stdout.splitlines()
    assert [json.loads(line)["paused_at"] for line in lines] == [None, None]
    assert len(run(tables, "queues", "list", "--limit", 1).stdout.splitlines()) == 2
