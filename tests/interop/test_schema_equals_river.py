"""Ours and River's own migrator leave the same tables, at every version, up and down.

pg_dump is compared as text, but for the bodies of the two functions: those are ours, so what they
answer is compared instead.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from riverbridge.bench.go_program import build
from riverbridge.embedded.postgres import find_postgres
from riverbridge.errors import PartMissing
from riverbridge.sql.migrations import MAIN, migrations
from riverbridge.store.migrate import Migrator
from tests.support.database import Server, new_name
from tests.support.parts import part

pytestmark = [pytest.mark.go, pytest.mark.timeout(600)]

SOURCE = Path(__file__).parent / "migrator"
NEWEST = migrations(MAIN)[-1].version
JOBS = """
    INSERT INTO {}.river_job
        (state, max_attempts, created_at, scheduled_at, finalized_at, args, kind, tags,
         queue)
    SELECT state::{}.river_job_state, 25, '2026-01-01Z', '2026-01-01Z', finalized, args, 'k', tags,
        'for_' || state  -- of equal notifications in one transaction Postgres sends one
    FROM (VALUES
        ('available', NULL::timestamptz, NULL::jsonb, NULL::text[]),
        ('completed', '2026-01-02Z', '{{"a": 1}}', '{{x}}'),
        ('retryable', NULL, '{{"a": 2}}', NULL)
    ) AS job (state, finalized, args, tags)
"""


class River:
    """River's migrator, as a program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, direction: str, *, dsn: str = "", schema: str = "", target: int = 0) -> str:
        done = subprocess.run(
            [self._program, "-direction", direction, "-schema", schema, "-target", str(target)],
            env=os.environ | {"DATABASE_URL": dsn},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> River:
    with part("go"):
        return River(build(tmp_path_factory.mktemp("river") / "migrator", SOURCE))


@pytest.fixture
def new_database(postgres: Server) -> Iterator[Callable[[str], str]]:
    """Makes an empty database, with the named schema in it, and gives its DSN."""
    names: list[str] = []

    def make(schema: str) -> str:
        names.append(new_name())
        dsn = postgres.create_database(names[-1])
        if schema:
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        return dsn

    yield make
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def pg_dump(postgres: Server) -> Path:
    """The program of the server's own version, as an older one refuses."""
    with part("postgres"):
        program = find_postgres(postgres.major) / "pg_dump"
        if not program.exists():
            raise PartMissing(f"{program.parent} has no pg_dump")
    return program


def dump(pg_dump: Path, dsn: str) -> str:
    """The schema as pg_dump writes it, less what says nothing about it, and function bodies."""
    done = subprocess.run(
        [pg_dump, "--schema-only", "--dbname", dsn],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    noise = re.compile(r"--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict ")
    lines = [line for line in done.stdout.splitlines() if line and not noise.match(line)]
    return re.sub(r"AS \$\$.*?\$\$;", "AS (body);", "\n".join(lines), flags=re.DOTALL)


def rows(dsn: str, schema: str, table: str, but: str = "") -> list[dict[str, Any]] | None:
    """The rows of `table` in the order of its first key; None if there is no such table."""
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        name = sql.Identifier(schema or "public", table)
        found = conn.execute("SELECT to_regclass(%s) AS name", [name.as_string(conn)]).fetchone()
        if found is None or found["name"] is None:
            return None
        query = sql.SQL("SELECT to_jsonb(t) - {} AS row FROM {} t ORDER BY 1").format(but, name)
        return [row["row"] for row in conn.execute(query)]


def same(pg_dump: Path, theirs: str, ours: str, schema: str, newest: int) -> None:
    assert dump(pg_dump, ours) == dump(pg_dump, theirs)
    versions = rows(ours, schema, "river_migration", "created_at")
    assert versions == rows(theirs, schema, "river_migration", "created_at")
    assert [row["version"] for row in versions or ()] == list(range(1, newest + 1))
    assert rows(ours, schema, "river_job") == rows(theirs, schema, "river_job")


def insert_jobs(dsn: str, schema: str) -> None:
    place = sql.Identifier(schema or "public")
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL(JOBS).format(place, place))


def test_the_pinned_river_ends_where_we_end(river: River) -> None:
    listed = [f"{migration.version} {migration.name}" for migration in migrations(MAIN)]
    assert river.run("versions").splitlines() == listed


@pytest.mark.parametrize("schema", ["", "jobs", "Jobs_A"])
def test_every_version_up_and_down(
    river: River, pg_dump: Path, new_database: Callable[[str], str], schema: str
) -> None:
    theirs, ours = new_database(schema), new_database(schema)
    migrator = Migrator(ours, schema=schema)
    for version in range(1, NEWEST + 1):
        river.run("up", dsn=theirs, schema=schema, target=version)
        migrator.up(target=version)
        same(pg_dump, theirs, ours, schema, version)
        if version == 2:
            insert_jobs(theirs, schema)
            insert_jobs(ours, schema)
    jobs = rows(ours, schema, "river_job")
    assert jobs is not None
    assert [job["tags"] for job in jobs] == [[], ["x"], []]
    for version in range(NEWEST - 1, 0, -1):
        river.run("down", dsn=theirs, schema=schema, target=version)
        migrator.down()
        same(pg_dump, theirs, ours, schema, version)
    river.run("down", dsn=theirs, schema=schema, target=-1)
    migrator.down()
    same(pg_dump, theirs, ours, schema, 0)
    assert rows(ours, schema, "river_migration") is None


@pytest.mark.parametrize("schema", ["", "jobs"])
def test_each_goes_on_where_the_other_stopped(
    river: River, pg_dump: Path, new_database: Callable[[str], str], schema: str
) -> None:
    mixed, theirs = new_database(schema), new_database(schema)
    migrator = Migrator(mixed, schema=schema)
    empty = dump(pg_dump, mixed)
    for version in range(1, NEWEST + 1):
        if version % 2:
            migrator.up(target=version)
        else:
            river.run("up", dsn=mixed, schema=schema, target=version)
    river.run("up", dsn=theirs, schema=schema)
    same(pg_dump, theirs, mixed, schema, NEWEST)
    river.run("down", dsn=mixed, schema=schema, target=4)
    assert migrator.validate() == (5, 6, 7)
    migrator.up()
    same(pg_dump, theirs, mixed, schema, NEWEST)
    river.run("down", dsn=mixed, schema=schema, target=-1)
    assert dump(pg_dump, mixed) == empty


def test_the_bitmask_function_answers_alike(
    river: River, new_database: Callable[[str], str]
) -> None:
    """Every mask and every state, and NULL for each."""
    theirs, ours = new_database(""), new_database("")
    river.run("up", dsn=theirs)
    Migrator(ours).up()
    query = """
        SELECT mask, state, river_job_state_in_bitmask(mask::bit(8), state)
        FROM (SELECT generate_series(0, 255) UNION ALL SELECT NULL) AS masks (mask),
            (SELECT unnest(enum_range(NULL::river_job_state)) UNION ALL SELECT NULL) AS s (state)
        ORDER BY mask, state
    """
    answers = []
    for dsn in (theirs, ours):
        with psycopg.connect(dsn) as conn:
            answers.append(conn.execute(query).fetchall())
    assert len(answers[0]) == 257 * 9
    assert {answer for _, _, answer in answers[0]} == {True, False, None}
    assert answers[1] == answers[0]


@pytest.mark.parametrize("schema", ["", "jobs"])
def test_the_old_trigger_notifies_alike(
    river: River, new_database: Callable[[str], str], schema: str
) -> None:
    """Version 2 to 3, and again after going down from 4."""
    theirs, ours = new_database(schema), new_database(schema)
    river.run("up", dsn=theirs, schema=schema, target=4)
    river.run("down", dsn=theirs, schema=schema, target=2)
    Migrator(ours, schema=schema).up(target=2)
    fresh = notified(ours, schema)
    assert len(fresh) == 1
    assert fresh == notified(theirs, schema)
    Migrator(ours, schema=schema).up(target=4)
    Migrator(ours, schema=schema).down(target=2)
    assert notified(ours, schema) == fresh


def notified(dsn: str, schema: str) -> list[tuple[str, str]]:
    """What a listener hears of one available job and two others."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("LISTEN river_insert")
        conn.execute(f'LISTEN "{schema or "public"}.river_insert"'.encode())
        insert_jobs(dsn, schema)
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute("NOTIFY river_insert, 'end'")
        heard: list[tuple[str, str]] = []
        for notify in conn.notifies(timeout=10):
            if notify.payload == "end":
                return heard
            heard.append((notify.channel, notify.payload))
    raise AssertionError("the end was never heard")
