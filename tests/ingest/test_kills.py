"""The long proof: 20,000 events, processes killed at every step, and exactly 20,000 jobs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from riverbridge.embedded.broker import Broker
from riverbridge.testing.crash import POINTS
from tests.ingest.rows import numbers, positions, quarantined
from tests.support.database import Database, new_name
from tests.support.wait import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EVENTS = int(os.environ.get("RIVERBRIDGE_TEST_INGEST_EVENTS", "20000"))
PARTITIONS = 4
ROUNDS = 2
ROOT = Path(__file__).parents[2]


class Field:
    """A topic, numbered events in it, and processes that read it."""

    def __init__(self, broker: Broker, database: Database) -> None:
        self.database = database
        self.servers = broker.bootstrap_servers
        self.topic = new_name("killed")
        broker.create_topic(self.topic, PARTITIONS)
        self.sent = self.bad = self.killed = 0
        self._producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})

    def produce(self, count: int) -> None:
        """So many more events, and one that is no JSON."""
        for number in range(self.sent, self.sent + count):
            place = number % PARTITIONS
            self._producer.produce(self.topic, b'{"n": %d}' % number, partition=place)
            self._producer.poll(0)
        self._producer.produce(
            self.topic, b'{"n": %d' % self.sent, partition=self.sent % PARTITIONS
        )
        assert self._producer.flush(20) == 0
        self.sent += count
        self.bad += 1

    @contextmanager
    def process(self, **told: object) -> Iterator[subprocess.Popen[bytes]]:
        given = {"servers": self.servers, "topic": self.topic, "dsn": self.database.dsn} | told
        command = [sys.executable, "-m", "tests.ingest.killed", json.dumps(given)]
        child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            yield child
        finally:
            child.send_signal(signal.SIGCONT)
            child.terminate()
            try:
                child.wait(20)
            finally:
                child.kill()
                child.wait(5)

    def kill_at_every_point(self, points: Sequence[str], feed: int) -> None:
        for number, point in enumerate(points):
            self.produce(feed)
            nth = random.randint(1, 4)
            with self.process(point=point, nth=nth, signal=signal.SIGKILL) as child:
                # Every other time a second member takes partitions away meanwhile, and dies too.
                if number % 2:
                    with self.process() as other:
                        eventually(lambda: child.poll() is not None or self.done(), within=60)
                        other.kill()
                eventually(lambda: child.poll() is not None or self.done(), within=60)
                self.killed += child.poll() == -signal.SIGKILL

    def done(self) -> bool:
        """Whether all that was sent was read."""
        ends = sum(int(position) for position in positions(self.database).values())
        return ends == self.sent + self.bad

    def finish(self) -> None:
        with self.process():
            eventually(self.done, within=120, every=0.1)


def test_twenty_thousand_events_are_as_many_jobs_through_kills_at_every_step(
    own_kafka: Broker, database: Database
) -> None:
    field = Field(own_kafka, database)
    points = list(POINTS) * ROUNDS
    field.kill_at_every_point(points, EVENTS // len(points))
    assert field.killed > 0.7 * len(points), "most have to come to their point"
    field.produce(EVENTS - field.sent)
    field.finish()
    assert numbers(database) == dict.fromkeys(range(EVENTS), 1)
    assert len(quarantined(database)) == field.bad
    # Finished jobs are removed, and the source is read from its beginning again.
    with database.connect() as connection:
        connection.execute("DELETE FROM river_job")
        connection.execute("UPDATE riverbridge_position SET position = '0'")
    field.kill_at_every_point(["written", "committing", "committed"], 1)
    field.finish()
    assert numbers(database) == dict.fromkeys(range(EVENTS, EVENTS + 3), 1)
    assert len(quarantined(database)) == field.bad


def test_a_frozen_owner_commits_nothing_that_the_next_one_has(
    own_kafka: Broker, database: Database
) -> None:
    field = Field(own_kafka, database)
    for point in ("begun", "written", "committing"):
        field.produce(1000)
        with field.process(point=point, nth=2, signal=signal.SIGSTOP) as frozen:

            def stopped(pid: int = frozen.pid) -> bool:
                return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

            eventually(stopped, within=30)
            field.finish()
            frozen.send_signal(signal.SIGCONT)
            field.produce(100)
            eventually(field.done, within=60)
    assert numbers(database) == dict.fromkeys(range(field.sent), 1)
    assert len(quarantined(database)) == field.bad
