"""Deliveries of a sender that repeats until it is answered well, to a process that is killed at
every step: each is exactly one job."""

from __future__ import annotations

import http.client
import os
import random
import subprocess
import threading
import time
from contextlib import AbstractContextManager

import pytest

from riverbridge.embedded.process import free_port
from riverbridge.testing.crash import POINTS
from tests.ingest.field import child_of
from tests.ingest.hooked import HOST
from tests.ingest.rows import numbers
from tests.support.database import Database
from tests.support.signed import number, standard
from tests.support.wait import eventually

EVENTS = int(os.environ.get("RIVERBRIDGE_TEST_INGEST_EVENTS", "20000"))
THREADS = 16


class Sender:
    """Sends numbered events, in threads with a connection each; every 50th is no JSON."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._next = self.limit = 0
        self._end = threading.Event()
        self.done = 0
        self.repeats = 0
        self._threads = [threading.Thread(target=self._send) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    def again(self) -> None:
        """Send all that was sent once more."""
        with self._lock:
            self._next = 0

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self.limit:
                return None
            self._next += 1
            return self._next - 1

    def _send(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        while not self._end.is_set():
            n = self._take()
            if n is None:
                time.sleep(0.005)
                continue
            while not self._end.is_set() and not self._one(connection, n):
                self.repeats += 1
                time.sleep(0.05)
            with self._lock:
                self.done += 1
        connection.close()

    @staticmethod
    def _one(connection: http.client.HTTPConnection, n: int) -> bool:
        body = number(n) if n % 50 else b'{"n": %d' % n
        try:
            connection.request("POST", "/hooks/shop", body, standard(body, f"m{n}"))
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        assert response.status in (200, 503), response.status
        return response.status == 200


def process(
    port: int, database: Database, **told: object
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return child_of("killed_hooks", {"port": port, "dsn": database.dsn} | told)


def prove(database: Database, events: int, points: list[str]) -> None:
    """Kill the process once at each of `points` while so many events are sent."""
    port = free_port()
    sender = Sender(port)
    killed = 0
    try:
        for number_, point in enumerate(points, 1):
            sender.limit = events * number_ // len(points)
            with process(port, database, point=point, nth=random.randint(1, 4)) as child:
                eventually(
                    lambda: child.poll() is not None or sender.done == sender.limit, within=60
                )
                killed += child.poll() == -9
        with process(port, database):
            eventually(lambda: sender.done == events, within=60 + events / 30)
            jobs = numbers(database)
            # Finished jobs are removed, and all is sent again.
            with database.connect() as connection:
                connection.execute("DELETE FROM river_job")
            sender.again()
            eventually(lambda: sender.done == 2 * events, within=60 + events / 30)
            assert numbers(database) == {}
    finally:
        sender.close()
    print(f"\n{len(jobs)} jobs, {killed} processes killed, {sender.repeats} requests repeated")
    assert killed == len(points), "each has to come to its point"
    assert sender.repeats > 0
    assert jobs == {n: 1 for n in range(events) if n % 50}
    with database.connect() as connection:
        bad = connection.execute("SELECT event_id FROM riverbridge_quarantine").fetchall()
    assert sorted(bad) == sorted((f"m{n}",) for n in range(0, events, 50))


def test_each_delivery_is_one_job_through_kills(tables: Database) -> None:
    prove(tables, 400, ["half written", "committing", "committed", "acknowledged"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_deliveries_are_as_many_jobs_through_kills_at_every_step(
    database: Database,
) -> None:
    prove(database, EVENTS * 50 // 49 + 1, [*POINTS, *POINTS, *POINTS])
