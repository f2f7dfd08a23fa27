"""The long proof: 20,000 events, processes killed at every step, and exactly 20,000 jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from riverbridge.embedded.broker import Broker
from riverbridge.testing.crash import POINTS
from tests.ingest.field import Field
from tests.ingest.rows import numbers, positions, quarantined
from tests.support.database import Database, new_name

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EVENTS = int(os.environ.get("RIVERBRIDGE_TEST_INGEST_EVENTS", "20000"))
PARTITIONS = 4
ROUNDS = 2


class Topic(Field):
    """A topic, its events dealt out over its partitions."""

    def __init__(self, broker: Broker, database: Database) -> None:
        servers, self.topic = broker.bootstrap_servers, new_name("killed")
        super().__init__(database, {"servers": servers, "topic": self.topic})
        broker.create_topic(self.topic, PARTITIONS)
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 0})

    def send(self, bodies: Sequence[bytes]) -> None:
        for number, body in enumerate(bodies, self.sent):
            self._producer.produce(self.topic, body, partition=number % PARTITIONS)
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def done(self) -> bool:
        ends = sum(int(position) for position in positions(self.database).values())
        return ends == self.sent + self.bad


def test_twenty_thousand_events_are_as_many_jobs_through_kills_at_every_step(
    own_kafka: Broker, database: Database
) -> None:
    field = Topic(own_kafka, database)
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
    field = Topic(own_kafka, database)
    for point in ("begun", "written", "committing"):
        field.produce(1000)
        field.freeze_at(point)
    assert numbers(database) == dict.fromkeys(range(field.sent), 1)
    assert len(quarantined(database)) == field.bad
