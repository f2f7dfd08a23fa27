"""Our insert and River's own statement leave the same rows.

River's text is read from its Go module at test time, so what is compared is what it runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from riverbridge import Client, InsertManyParams, InsertOpts, RawArgs
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


def insert_as_river(connection: psycopg.Connection[Any], statement: str) -> None:
    jobs = [new_job(each.args, each.opts) for each in JOBS]
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
        "unique_key": [b"" for _ in jobs],
        "unique_states": [0 for _ in jobs],
    }
    connection.execute(statement.encode(), values)


def test_rows_are_equal_in_every_column_but_the_id(
    database: Database, rivers_statement: str
) -> None:
    with (
        database.connect(autocommit=False) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        # One transaction, so that now() is the same for both.
        Client(connection).insert_many_tx(connection, JOBS)
        insert_as_river(connection, rivers_statement)
        rows = cursor.execute("SELECT * FROM river_job ORDER BY id").fetchall()
    assert len(rows) == 2 * len(JOBS)
    for row in rows:
        del row["id"]
    ours, rivers = rows[: len(JOBS)], rows[len(JOBS) :]
    assert [row["kind"] for row in ours] == ["plain", "json", "tags", "all", "pending", "late"]
    assert ours == rivers
