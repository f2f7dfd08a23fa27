"""The long proof: changes in transactions of any size, servers and readers killed, the exact set.

The tables are on a server of their own, so that the WAL that it keeps is theirs alone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from riverbridge.embedded.postgres import Postgres
from riverbridge.testing.crash import POINTS
from tests.ingest.field import child_of
from tests.ingest.rows import positions
from tests.ingest.slots import Shop
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CHANGES = int(os.environ.get("RIVERBRIDGE_TEST_CDC_CHANGES", "100000"))
LARGE = 2 * CHANGES
"""Rows of the largest transaction."""
BUDGET = 64 << 20
"""Bytes of WAL that may be kept, beside those of the largest transaction."""


class Ledger:
    """A table that is inserted into and updated; in the end it says what happened to each row."""

    def __init__(self, server: Postgres) -> None:
        self.shop = Shop(Database("shop", server.create_database("shop"), server))
        self.shop.run(
            "CREATE TABLE ledger (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text)"
        )
        self.largest = 0

    def grow(self, rows: int) -> None:
        """One transaction, which may fail where the server is killed."""
        with self.shop.database.connect(autocommit=False) as connection:
            [(first, before)] = connection.execute(
                "SELECT coalesce(max(id), 0) + 1, pg_current_wal_insert_lsn() FROM ledger"
            ).fetchall()
            connection.execute(
                "INSERT INTO ledger SELECT n, 0, repeat('x', 20)"
                " FROM generate_series(%s::int, %s::int) AS n",
                (first, first + rows - 1),
            )
            connection.execute(
                "UPDATE ledger SET n = n + 1 WHERE id BETWEEN %s AND %s",
                (first - 20, first - 1),
            )
            [(size,)] = connection.execute(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint", (before,)
            ).fetchall()
            self.largest = max(self.largest, size)

    def changes(self) -> Counter[tuple[int, int]]:
        """Each row, once for its insertion and once for each update, as it was after it."""
        rows = self.shop.run("SELECT id, n FROM ledger")
        return Counter((id_, n) for id_, last in rows for n in range(last + 1))


class Watch:
    """Samples once a second what the server keeps for a slot."""

    def __init__(self, shop: Shop) -> None:
        self.most = 0
        self._shop = shop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            try:
                self.most = max(self.most, self._shop.held())
            except (psycopg.Error, ValueError):
                continue  # it is down, or the slot is not there yet


class Readers:
    """Processes that read the ledger into the database of River's tables."""

    def __init__(self, shop: Shop, database: Database) -> None:
        self.database = database
        self.memory = 0
        self._told = {
            "url": shop.database.dsn, "slot": shop.slot, "table": "ledger",
            "dsn": database.dsn, "count": 1000,
        }  # fmt: skip

    @contextmanager
    def process(self, **told: Any) -> Iterator[subprocess.Popen[bytes]]:
        with child_of("killed", self._told | told) as child:
            try:
                yield child
            finally:
                self.remember_memory(child.pid)

    def remember_memory(self, pid: int) -> None:
        """The most memory that this process ever had, in KiB."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.memory = max(self.memory, int(line.split()[1]))

    def jobs(self) -> Counter[tuple[int, int]]:
        with self.database.connect() as connection:
            rows = connection.execute(
                "SELECT (args->'new'->>'id')::int, (args->'new'->>'n')::int FROM river_job"
            ).fetchall()
        return Counter(rows)

    def count(self) -> int:
        with self.database.connect() as connection:
            [(count,)] = connection.execute("SELECT count(*) FROM river_job").fetchall()
        return int(count)


def test_every_change_is_one_job_through_kills_of_servers_and_readers(
    own_postgres: Postgres, database: Database
) -> None:
    ledger = Ledger(own_postgres)
    readers = Readers(ledger.shop, database)
    with readers.process():
        eventually(lambda: positions(database), within=30)
    killed, points = 0, [*POINTS, *POINTS]
    with Watch(ledger.shop) as watch:
        for number, point in enumerate(points):
            told = {"point": point, "nth": random.randint(1, 6), "signal": signal.SIGKILL}
            with readers.process(**told) as child:
                left = CHANGES // len(points)
                while left > 0:
                    rows = min(left, random.choice((1, 3, 40, 900, 5000)))
                    ledger.grow(rows)
                    left -= rows
                if number % 4 == 1:
                    own_postgres.kill()
                    own_postgres.start()
                elif number % 4 == 3:
                    own_postgres.restart(within=30)
                target = sum(ledger.changes().values())
                eventually(lambda: child.poll() is not None or readers.count() >= target,  # noqa: B023
                           within=120, every=0.2)  # fmt: skip
                killed += child.poll() == -signal.SIGKILL
        ledger.grow(LARGE)
        total = sum(ledger.changes().values())
        for _ in range(4):  # in the middle of it
            before = readers.count()
            with readers.process(point="written", nth=LARGE // 6000, signal=9) as child:
                eventually(lambda: child.poll() is not None or readers.count() == total,
                           within=240, every=0.2)  # fmt: skip
            assert readers.count() > before
        own_postgres.kill()
        own_postgres.start()
        with readers.process():
            eventually(lambda: readers.count() >= total, within=600, every=0.5)
            eventually(lambda: ledger.shop.held() < BUDGET, within=90, every=0.5)
    assert readers.jobs() == ledger.changes()
    assert killed > 0.7 * len(points), "most have to come to their point"
    print(
        f"\n{total} changes; readers killed {killed + 4} times; WAL kept at most "
        f"{watch.most >> 20} MiB, the largest transaction {ledger.largest >> 20} MiB; "
        f"a reader's memory at most {readers.memory >> 10} MiB"
    )
    assert watch.most < BUDGET + ledger.largest
    assert readers.memory < 160 << 10
