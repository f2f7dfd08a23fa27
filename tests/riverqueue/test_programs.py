"""Programs for riverqueue, River's Python client, do the same with their imports changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.connections import url
from tests.support.database import Database

PROGRAMS = Path(__file__).parent
ROOT = PROGRAMS.parents[1]


def changed(program: str) -> str:
    """The program's text with other imports."""
    text = (PROGRAMS / program).read_text(encoding="utf-8")
    text, changes = re.subn(
        "^import riverqueue$", "import riverbridge as riverqueue", text, flags=re.M
    )
    text, more = re.subn("^from riverqueue\\.", "from riverbridge.", text, flags=re.M)
    assert (changes, more) == (1, 1)
    return text


def run(text: str, database: Database) -> str:
    env = os.environ | {"DATABASE_URL": url(database), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """All but what the clock and the sequence give, and the table emptied."""
    return connection.execute(
        "WITH gone AS (DELETE FROM river_job RETURNING *)"
        " SELECT kind, args, queue, state::text, priority, max_attempts, attempt, tags, metadata,"
        " attempted_by, errors, finalized_at, unique_key FROM gone ORDER BY id"
    ).fetchall()


@pytest.mark.parametrize("program", ["inserts.py", "inserts_async.py"])
def test_it_prints_and_leaves_what_riverqueue_does(database: Database, program: str) -> None:
    with database.connect() as connection:
        said = run((PROGRAMS / program).read_text(encoding="utf-8"), database)
        theirs = rows(connection)
        assert run(changed(program), database) == said
        assert rows(connection) == theirs
        assert len(theirs) >= 5


def test_unique_jobs_are_inserted_once(database: Database) -> None:
    assert run(changed("unique.py"), database).split() == ["False", "True", "True", "False"]
    with database.connect() as connection:
        assert [row[1] for row in rows(connection)] == [
            {"address": "one@example.com"},
            {"address": "two@example.com"},
        ]
