"""Standing for election beside River's Go client."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from riverbridge.store import leader
from riverbridge.upkeep.leader import Leader
from tests.interop.upkeep.conftest import Oracle
from tests.support.database import Database
from tests.support.running import running
from tests.support.wait import eventually

pytestmark = pytest.mark.go

SCHEMA = "rivers"


@pytest.fixture
def conn(twins: Database) -> Iterator[psycopg.Connection]:
    with twins.connect() as connection:
        yield connection


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as exits:
        yield exits


def leads(conn: psycopg.Connection) -> str | None:
    seat = leader.get(conn, schema=SCHEMA)
    return None if seat is None else seat.leader_id


def start_go(oracle: Oracle, stack: ExitStack) -> subprocess.Popen[bytes]:
    process = oracle.start("lead", SCHEMA, "go")

    def end() -> None:
        process.kill()
        process.communicate()

    stack.callback(end)
    return process


def start_ours(twins: Database, stack: ExitStack) -> Leader:
    ours = Leader(twins.connect, client_id="python", duties=(), schema=SCHEMA)
    stack.enter_context(running(ours))
    stack.enter_context(listening(twins, ours))
    return ours


class listening:
    """The process's listener thread: what comes on the leadership channel goes to the leader."""

    def __init__(self, twins: Database, ours: Leader) -> None:
        self._conn = twins.connect()
        self._conn.execute(f'LISTEN "{SCHEMA}.river_leadership"'.encode())
        self._ours = ours
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        while not self._stop.is_set():
            for notification in self._conn.notifies(timeout=0.05):
                self._ours.notify(notification.payload)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._conn.close()


def test_takes_over_as_soon_as_rivers_leader_resigns(
    twins: Database, oracle: Oracle, conn: psycopg.Connection, stack: ExitStack
) -> None:
    go = start_go(oracle, stack)
    eventually(lambda: leads(conn) == "go")
    ours = start_ours(twins, stack)
    begun = ours.progress
    eventually(lambda: ours.progress > begun)
    assert not ours.is_leader
    assert go.stdin is not None
    go.stdin.close()
    eventually(lambda: leads(conn) != "go")
    eventually(lambda: ours.is_leader, within=1)
    assert leads(conn) == "python"


def test_rivers_client_takes_over_as_soon_as_we_stop(
    twins: Database, oracle: Oracle, conn: psycopg.Connection, stack: ExitStack
) -> None:
    ours = Leader(twins.connect, client_id="python", duties=(), schema=SCHEMA)
    with running(ours):
        eventually(lambda: ours.is_leader)
        start_go(oracle, stack)
        # It listens once it follows.
        eventually(lambda: listeners(conn) > 0)
        assert leads(conn) == "python"
    eventually(lambda: leads(conn) == "go", within=1)


def test_takes_over_when_rivers_leader_dies(
    twins: Database, oracle: Oracle, conn: psycopg.Connection, stack: ExitStack
) -> None:
    go = start_go(oracle, stack)
    eventually(lambda: leads(conn) == "go")
    ours = start_ours(twins, stack)
    go.send_signal(signal.SIGKILL)
    eventually(lambda: ours.is_leader, within=22)


def listeners(conn: psycopg.Connection) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query ILIKE 'LISTEN%river_leadership%'"
    ).fetchone()
    assert row is not None
    count: int = row[0]
    return count
