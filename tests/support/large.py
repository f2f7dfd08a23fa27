"""Two million jobs in a server of their own: seeded once, kept, and copied for each run.

What is kept is the data directory of a server that was shut down, in pytest's cache, under a name
that changes with the seed, the migrations and the version of Postgres. A run works on a copy, where
the tests' servers keep their files, so nothing that a test does reaches the next run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

import riverbridge
from riverbridge.embedded.postgres import Postgres, find_postgres, postgres_version
from tests.support import seed
from tests.support.database import Database, migrate

NAME = "large"
SETTINGS: dict[str, str | int] = {
    "shared_buffers": "256MB",
    "autovacuum": "off",  # all is vacuumed and analyzed; it would work beside what is measured
    "max_wal_size": "256MB",
}
"""Of both servers; all else is Postgres' own."""

LOADING: dict[str, str | int] = {"wal_level": "minimal", "max_wal_senders": 0}


@contextmanager
def large_database(cache: pytest.Cache, major: int) -> Iterator[Database]:
    """The database, with a history up to now. Raises PartMissing without a Postgres."""
    kept = _kept(cache, major)
    server = Postgres(major=major or None, fsync=False, settings=SETTINGS)
    with server:
        # Another data directory for the same server, which is removed with it, whatever ends us.
        server.kill()
        shutil.rmtree(server.log.parent / "data")
        subprocess.run(["cp", "-a", "--reflink=auto", kept, server.log.parent / "data"], check=True)
        server.start()
        database = Database(NAME, server.dsn(NAME), server)
        with database.connect() as connection:
            seed.write_history(connection)
        yield database


def _kept(cache: pytest.Cache, major: int) -> Path:
    """The data directory, made if need be."""
    version = postgres_version(find_postgres(major or None))
    sql = sorted((Path(riverbridge.__file__).parent / "sql" / "migrations").rglob("*.sql"))
    digest = hashlib.sha256()
    for file in (Path(__file__), Path(seed.__file__), seed.OURS, *sql):
        digest.update(file.read_bytes())
    shelf = cache.mkdir("two-million-jobs")
    place = shelf / f"{version}-{digest.hexdigest()[:16]}"
    if place.exists():
        return place
    for old in shelf.glob(f"{version}-*"):
        shutil.rmtree(old)
    half = Path(tempfile.mkdtemp(dir=shelf))
    directory = Path(tempfile.mkdtemp(prefix="riverbridge-large-"))
    try:
        _fill(directory, major)
        subprocess.run(["cp", "-a", directory / "data", half / "data"], check=True)
    finally:
        shutil.rmtree(directory)
    (half / "data").rename(place)  # at once: what is there is whole
    half.rmdir()
    return place


def _fill(directory: Path, major: int) -> None:
    with Postgres(
        major=major or None, directory=directory, fsync=False, settings=SETTINGS | LOADING
    ) as server:
        dsn = server.create_database(NAME)
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            seed.seed(connection)
            connection.execute("CHECKPOINT")
