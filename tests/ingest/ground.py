"""A topic, and what reads it into Postgres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Producer

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.kafka import Gap, KafkaSource, Start
from riverbridge.store.database import connector
from tests.support.database import Database, new_name
from tests.support.running import running

PARTITIONS = 3


class Ground:
    """A topic, and receivers that read it."""

    def __init__(
        self, servers: str, topic: str, database: Database, *, session_ms: int = 1000
    ) -> None:
        """session_ms: Tansu lets members wait for half of it and a second more; Kafka takes 6 s."""
        self._config = {"session.timeout.ms": session_ms}
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
            start=start, on_gap=on_gap, config=self._config,
        )  # fmt: skip

    @contextmanager
    def receiving(
        self, intake: Intake | None = None, dsn: str | None = None, **source: str
    ) -> Iterator[Receiver]:
        """dsn: another way to the database. source: how it is opened."""
        intake = intake or Intake(Mapper("events", Plan(kind="event")))
        receiver = Receiver(
            "events",
            lambda: self.source(**source),  # type: ignore[arg-type]
            intake,
            connect=connector(dsn or self.database.dsn),
        )
        with running(receiver):
            yield receiver


def bodies(count: int, first: int = 0) -> list[bytes]:
    return [b'{"n": %d}' % number for number in range(first, first + count)]
