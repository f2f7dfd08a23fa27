"""The proof for Kafka: processes killed at every step, and each event exactly one job."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from confluent_kafka import Producer

from riverbridge.embedded.broker import Broker
from riverbridge.testing.crash import POINTS
from tests.ingest.field import Field
from tests.ingest.rows import in_quarantine, numbers, positions
from tests.support.database import Database, new_name
from tests.support.given import GivenKafka
from tests.support.parts import part
from tests.support.real_kafka import RealKafka
from tests.support.wait import eventually

EVENTS = int(os.environ.get("RIVERBRIDGE_TEST_INGEST_EVENTS", "20000"))
PARTITIONS = 4
ROUNDS = 2
MEMBERS = 3
FEED = 500
"""Events between two changes of the group's members."""


class Topic(Field):
    """A topic, its events dealt out over its partitions."""

    def __init__(self, broker: Broker | GivenKafka | RealKafka, database: Database) -> None:
        servers, self.topic = broker.bootstrap_servers, new_name("killed")
        super().__init__(database, {"servers": servers, "topic": self.topic})
        broker.create_topic(self.topic, PARTITIONS)
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 0})

    def send(self, bodies: Sequence[bytes]) -> None:
        for number, body in enumerate(bodies, self.sent):
            self._producer.produce(self.topic, body, partition=number % PARTITIONS)
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def read(self) -> int:
        """How many were read, the bad ones among them."""
        return sum(int(position) for position in positions(self.database).values())

    def done(self) -> bool:
        return self.read() == self.sent + self.bad


def check(field: Topic, points: int, events: int) -> None:
    """Send the rest, and hold the jobs against what was sent."""
    assert field.killed > 0.6 * points, "most have to come to their point"
    field.produce(events - field.sent)
    field.finish()
    assert numbers(field.database) == dict.fromkeys(range(events), 1)
    assert in_quarantine(field.database) == field.bad
    print(f"\n{events} events, as many jobs; {field.killed} processes killed")


def test_each_event_is_one_job_through_some_kills(
    kafka: Broker | GivenKafka, database: Database
) -> None:
    field, points = Topic(kafka, database), ["committed", "committing"]
    field.kill_at_every_point(points, 100, latest=1)
    check(field, len(points), 300)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_events_are_as_many_jobs_through_kills_at_every_step(
    own_kafka: Broker, database: Database
) -> None:
    field, points = Topic(own_kafka, database), list(POINTS) * ROUNDS
    field.kill_at_every_point(points, EVENTS // len(points))
    check(field, len(points), EVENTS)
    # Finished jobs are removed, and the source is read from its beginning again.
    field.clean()
    with database.connect() as connection:
        connection.execute("UPDATE riverbridge_position SET position = '0'")
    field.kill_at_every_point(["written", "committing", "committed"], 1)
    field.finish()
    assert numbers(database) == dict.fromkeys(range(EVENTS, EVENTS + 3), 1)
    assert in_quarantine(database) == field.bad


@pytest.fixture
def quick_kafka() -> Iterator[RealKafka]:
    """Apache Kafka that misses a member after a second."""
    with part("real_kafka"):
        broker = RealKafka(properties={"group.min.session.timeout.ms": "1000"})
    with broker:
        yield broker


@pytest.mark.slow
@pytest.mark.real_kafka
@pytest.mark.timeout(900)
def test_twenty_thousand_events_are_as_many_jobs_while_three_members_are_killed_and_replaced(
    quick_kafka: RealKafka, database: Database
) -> None:
    """One of them is killed, frozen or stopped for every 500 events, and another takes its place:
    Kafka deals the partitions out anew all the time, while all of them have events in hand."""
    field = Topic(quick_kafka, database)
    ends = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]
    changes = 0
    with ExitStack() as last:
        members: deque[ExitStack] = deque()
        processes: deque[int] = deque()

        def join() -> None:
            stack = last.enter_context(ExitStack())
            processes.append(stack.enter_context(field.process()).pid)
            members.append(stack)

        for _ in range(MEMBERS):
            join()
        while field.sent < EVENTS:
            field.produce(min(FEED, EVENTS - field.sent))
            os.kill(processes.popleft(), ends[changes % len(ends)])
            join()
            changes += 1
            # Not all of it: those that remain are to have something in hand at the next change.
            eventually(lambda: field.read() > field.sent + field.bad - FEED // 2, within=60)
            members.popleft().close()
        eventually(field.done, within=60)
    assert numbers(database) == dict.fromkeys(range(EVENTS), 1)
    assert in_quarantine(database) == field.bad
    print(f"\n{EVENTS} events, as many jobs; the members changed {changes} times")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_frozen_owner_commits_nothing_that_the_next_one_has(
    own_kafka: Broker, database: Database
) -> None:
    field = Topic(own_kafka, database)
    for point in ("begun", "written", "committing"):
        field.produce(1000)
        field.freeze_at(point)
    assert numbers(database) == dict.fromkeys(range(field.sent), 1)
    assert in_quarantine(database) == field.bad
