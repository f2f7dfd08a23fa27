"""Our insert and River's own statement leave the same rows.

River's text is read from its Go module at test time, so what is compared is what it runs.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from riverbridge import (
    AttemptError,
    Client,
    InsertManyParams,
    InsertOpts,
    JobState,
    RawArgs,
    UniqueOpts,
)
from riverbridge.errors import PartMissing
from riverbridge.model.options import new_job
from tests.support.database import Database
from tests.support.parts import part

pytestmark = [pytest.mark.go]

MODULE = "github.com/riverqueue/river/riverdriver/riverpgxv5"
WHEN = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
JOBS = [
    InsertManyParams(RawArgs("plain", "{}")),
    InsertManyParams(RawArgs("json", '{"b": 1.50, "a": [1e3, null, "\\u00e9"], "b": 2}')),
    InsertManyParams(RawArgs("tags", "{}"), InsertOpts(tags=["abc", "d-f", "abc"])),
    InsertManyParams(RawArgs("all", "{}"), InsertOpts(7, 4, "q|1", WHEN, [], metadata={"a": 1})),
    InsertManyParams(RawArgs("pending", "{}"), InsertOpts(pending=True)),
    InsertManyParams(RawArgs("late", "{}"), InsertOpts(scheduled_at=WHEN - timedelta(20000))),
]
ONCE = InsertManyParams(RawArgs("once", '{"a": 1}'), InsertOpts(unique_opts=UniqueOpts(True)))


@pytest.fixture(scope="module")
def rivers_statement() -> str:
    with part("go"):
        go = shutil.which("go")
        if go is None:
            raise PartMissing("go is not on PATH")
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        cwd=Path(__file__).parent / "migrator",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r'"Dir": "([^"]+)"', done.stdout)
    assert found is not None
    text = (Path(found.group(1)) / "internal/dbsqlc/river_job.sql").read_text(encoding="utf-8")
    statement = text.split("-- name: JobInsertFastMany :many\n")[1].split(";")[0]
    statement = statement.split("RETURNING")[0].replace("%", "%%")
    statement = statement.replace("/* TEMPLATE: schema */", "")
    return re.sub(r"@(\w+)::", r"%(\1)s::", statement)


def insert_as_river(
    connection: psycopg.Connection[Any], statement: str, given: list[InsertManyParams]
) -> None:
    jobs = [new_job(each.args, each.opts) for each in given]
    zero = datetime(1, 1, 1, tzinfo=UTC)
    values = {
        "id": [0 for _ in jobs],
        "args": [job.args for job in jobs],
        "created_at": [zero for _ in jobs],
        "kind": [job.kind for job in jobs],
        "max_attempts": [job.max_attempts for job in jobs],
        "metadata": [job.metadata for job in jobs],
        "priority": [job.priority for job in jobs],
        "queue": [job.queue for job in jobs],
        "scheduled_at": [job.scheduled_at or zero for job in jobs],
        "state": [job.state.value for job in jobs],
        "tags": [",".join(job.tags) for job in jobs],
        "unique_key": [job.unique_key or b"" for job in jobs],
        "unique_states": [job.unique_states or 0 for job in jobs],
    }
    connection.execute(statement.encode(), values)


@pytest.mark.transition("T1", "T2", "T3")
@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("method", ["insert_many_tx", "insert_many_fast_tx", "insert_tx"])
def test_rows_are_equal_in_every_column_but_the_id(
    database: Database, rivers_statement: str, method: str, unique: bool
) -> None:
    jobs = [*JOBS, ONCE] if unique else JOBS
    with (
        database.connect(autocommit=False) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        # One transaction, so that now() is the same for both.
        insert = getattr(Client(connection), method)
        if method == "insert_tx":
            for each in jobs:
                insert(connection, each.args, each.opts)
        else:
            insert(connection, jobs)
        ours = cursor.execute("SELECT * FROM river_job ORDER BY id").fetchall()
        cursor.execute("DELETE FROM river_job")
        insert_as_river(connection, rivers_statement, jobs)
        rivers = cursor.execute("SELECT * FROM river_job ORDER BY id").fetchall()
    for row in ours + rivers:
        del row["id"]
    assert [row["kind"] for row in ours] == [new_job(each.args).kind for each in jobs]
    assert ours == rivers


def test_a_duplicate_of_rivers_row_leaves_what_a_duplicate_of_rivers_own_leaves(
    database: Database, rivers_statement: str
) -> None:
    """The existing row comes back whole, its kind changed and nothing else (contract 3.1)."""
    other = InsertManyParams(
        RawArgs("other", '{"a": 1}'),
        InsertOpts(priority=3, unique_opts=UniqueOpts(True, exclude_kind=True)),
    )
    first = dataclasses.replace(other, args=RawArgs("first", '{"a": 1}'))
    with (
        database.connect(autocommit=False) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        found = []
        for ours in (True, False):
            cursor.execute("DELETE FROM river_job")
            insert_as_river(connection, rivers_statement, [first])
            cursor.execute(
                "UPDATE river_job SET state = 'retryable', attempt = 2, attempted_at = now(),"
                ' attempted_by = \'{a}\', errors = ARRAY[\'{"at": "2026-01-02T03:04:05Z",'
                ' "attempt": 1, "error": "e", "trace": ""}\'::jsonb]'
            )
            if ours:
                result = Client(connection).insert_tx(connection, other.args, other.opts)
            else:
                insert_as_river(connection, rivers_statement, [other])
            found.append(cursor.execute("SELECT * FROM river_job").fetchall())
    assert result.unique_skipped_as_duplicate
    [[mine], [rivers]] = found
    job = msgspec.structs.asdict(result.job)
    assert job["kind"] == "other"
    assert job["errors"] == [AttemptError(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 1, "e")]
    assert job["unique_states"] == [
        state for state in JobState if state.value not in ("cancelled", "discarded")
    ]
    for row in (mine, job):
        for name in ("errors", "unique_states"):
            del row[name]
    assert job == mine
    for row in (mine, rivers):
        row.pop("id")
    assert mine.items() <= rivers.items()
