"""River itself, as the program in `bridge/`, for tests that stand it beside a running bridge."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from riverbridge.bench.go_program import build
from riverbridge.store.migrate import Migrator
from tests.support.database import Database
from tests.support.parts import part

SOURCE = Path(__file__).parent / "bridge"
COPY = """
INSERT INTO rivers.river_job
SELECT id, state::text::rivers.river_job_state, attempt, max_attempts, attempted_at, created_at,
    finalized_at, scheduled_at, priority, args, attempted_by, errors, kind, metadata, queue, tags,
    unique_key, unique_states
FROM ours.river_job
"""
"""The jobs in schema `ours` once more in `rivers`, whose states are another type."""


class River:
    """River's side of one database; its schema is `public` unless given."""

    def __init__(self, program: Path, database: Database, schema: str = "public") -> None:
        self._program = program
        self._dsn = database.dsn
        self._schema = schema

    def __call__(self, command: str, *args: object, within: float = 60.0) -> Any:
        """Run a command of main.go to its end; what it printed, parsed."""
        line = self._line(command, args)
        done = subprocess.run(line, capture_output=True, text=True, timeout=within, check=False)
        assert done.returncode == 0, f"River's {command} failed: {done.stderr}"
        return json.loads(done.stdout) if done.stdout else None

    @contextmanager
    def serving(self, client_id: str, queue: str) -> Iterator[None]:
        """A River client that works `queue` and stands for election; stopped cleanly."""
        with subprocess.Popen(
            self._line("serve", (client_id, queue)),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield
            finally:
                try:
                    _, shown = process.communicate(timeout=20)  # its standard input ends
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
        assert process.returncode == 0, shown

    def _line(self, command: str, args: tuple[object, ...]) -> list[str]:
        return [str(self._program), command, self._dsn, self._schema, *map(str, args)]


@pytest.fixture(scope="session")
def river_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with part("go"):
        return build(tmp_path_factory.mktemp("bridge") / "bridge", SOURCE)


@pytest.fixture(scope="session")
def next_river_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with River 0.44, which has what the contract calls unreleased."""
    with part("go"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOFLAGS", "-modfile=v0.44.mod")
        return build(tmp_path_factory.mktemp("bridge-0.44") / "bridge", SOURCE)


@pytest.fixture
def river(river_program: Path, database: Database) -> River:
    return River(river_program, database)


@pytest.fixture(scope="module")
def twin_database(module_database: Database) -> Database:
    """River's tables twice: in schema `ours`, with our own, and in `rivers`."""
    with module_database.connect() as conn:
        for schema in ("ours", "rivers"):
            conn.execute(f"CREATE SCHEMA {schema}".encode())
            Migrator(module_database.dsn, schema=schema, line="main").up()
    Migrator(module_database.dsn, schema="ours", line="riverbridge").up()
    return module_database


@pytest.fixture
def twin_tables(twin_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection to that database, its tables empty and the ids from 1."""
    with twin_database.connect() as conn:
        conn.execute("SET timezone TO 'UTC'")
        conn.execute(
            "TRUNCATE ours.river_job, ours.river_queue, ours.river_leader,"
            " ours.riverbridge_process, rivers.river_job, rivers.river_queue,"
            " rivers.river_leader RESTART IDENTITY"
        )
        yield conn


@pytest.fixture
def river_in(river_program: Path) -> Callable[[Database, str], River]:
    """Makes River's side of another database, in another schema."""
    return lambda database, schema: River(river_program, database, schema)
