"""River's own maintenance and election, built from its modules, beside ours in one database."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from riverbridge.bench.go_program import build
from riverbridge.store.migrate import Migrator
from tests.support.database import Database
from tests.support.parts import part

SOURCE = Path(__file__).parent


class OracleError(AssertionError):
    """River itself failed."""


@dataclass(frozen=True)
class Oracle:
    """The program of main.go, bound to a database."""

    program: Path
    dsn: str

    def __call__(self, command: str, schema: str, *args: object) -> Any:
        """Run a command to its end; what it printed, parsed."""
        line = [str(self.program), command, self.dsn, schema, *map(str, args)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise OracleError(done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    def start(self, command: str, schema: str, *args: object) -> subprocess.Popen[bytes]:
        """Start a command that ends with its standard input."""
        line = [str(self.program), command, self.dsn, schema, *map(str, args)]
        return subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def oracle_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with part("go"):
        return build(tmp_path_factory.mktemp("upkeep") / "upkeep", SOURCE)


@pytest.fixture
def oracle(oracle_program: Path, twins: Database) -> Oracle:
    return Oracle(oracle_program, twins.dsn)


@pytest.fixture
def twins(oracle_program: Path, empty_database: Database) -> Database:
    """A database with River's tables twice: in schema `ours`, with our own, and in `rivers`."""
    migrate = Oracle(oracle_program, empty_database.dsn)
    with empty_database.connect() as conn:
        for schema in ("ours", "rivers"):
            conn.execute(f"CREATE SCHEMA {schema}".encode())
            migrate("migrate", schema)
    Migrator(empty_database.dsn, schema="ours", line="riverbridge").up()
    return empty_database
