"""The Kafka source on a Kafka-protocol broker and Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sinks.kafka_config import Value
from riverbridge.sources.kafka import Gap, KafkaSource, Start
from riverbridge.store.database import connector
from tests.ingest.rows import args_of, numbers, positions
from tests.support.database import Database, new_name
from tests.support.wait import eventually

PARTITIONS = 3
QUICK: Mapping[str, Value] = {"session.timeout.ms": 1000}
"""Tansu lets members wait for half of it, and a second more."""


class Ground:
    """A topic, and receivers that read it."""

    def __init__(self, servers: str, topic: str, database: Database) -> None:
        self.servers, self.topic, self.database = servers, topic, database
        self.group = new_name("group")

    def produce(self, bodies: Sequence[bytes | None], partition: int | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        for number, body in enumerate(bodies):
            at = number % PARTITIONS if partition is None else partition
            producer.produce(self.topic, body, key=b"k%d" % number, partition=at)
        assert producer.flush(10) == 0

    def source(self, start: Start = "earliest", on_gap: Gap = "stop") -> KafkaSource:
        return KafkaSource(
            name="events", bootstrap_servers=self.servers, topics=[self.topic], group=self.group,
            start=start, on_gap=on_gap, config=QUICK,
        )  # fmt: skip

    @contextmanager
    def receiving(self, intake: Intake | None = None, **source: str) -> Iterator[Receiver]:
        intake = intake or Intake(Mapper("events", Plan(kind="event")))
        receiver = Receiver(
            "events",
            lambda: self.source(**source),  # type: ignore[arg-type]
            intake,
            connect=connector(self.database.dsn),
        )
        stop = threading.Event()
        thread = threading.Thread(target=receiver.run, args=(stop,))
        thread.start()
        try:
            yield receiver
        finally:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()


def bodies(count: int, first: int = 0) -> list[bytes]:
    return [b'{"n": %d}' % number for number in range(first, first + count)]


@pytest.fixture
def ground(kafka: object, database: Database) -> Ground:
    topic = new_name("ingest")
    kafka.create_topic(topic, PARTITIONS)  # type: ignore[attr-defined]
    return Ground(kafka.bootstrap_servers, topic, database)  # type: ignore[attr-defined]


def test_each_record_becomes_one_job_in_the_order_of_its_partition(ground: Ground) -> None:
    ground.produce(bodies(300))
    with ground.receiving():
        eventually(lambda: len(args_of(ground.database)) == 300, within=20)
    with ground.receiving():
        ground.produce(bodies(3, first=300))
        eventually(lambda: numbers(ground.database) == dict.fromkeys(range(303), 1), within=20)
    seen = [args["n"] for args in args_of(ground.database)]
    for place in range(PARTITIONS):
        of_partition = [n for n in seen if n % PARTITIONS == place]
        assert of_partition == sorted(of_partition)
    assert positions(ground.database) == {
        f"{ground.topic}/{place}": "101" for place in range(PARTITIONS)
    }
