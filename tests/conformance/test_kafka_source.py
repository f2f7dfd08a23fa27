"""The Kafka source does what every source has to do, with a Kafka-protocol broker behind it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from confluent_kafka import Producer

from riverbridge.embedded.broker import Broker
from riverbridge.sources.base import Source
from riverbridge.sources.kafka import KafkaSource
from riverbridge.testing.source_conformance import SOURCE, SourceConformance
from riverbridge.testing.source_harness import SourceHarness
from tests.support.database import Database, new_name

PARTITIONS = 2


class KafkaHarness(SourceHarness):
    def __init__(self, broker: Broker, database: Database) -> None:
        self.dsn = database.dsn
        self._servers = broker.bootstrap_servers
        self._topic = new_name("source")
        self._group = new_name("group")
        broker.create_topic(self._topic, PARTITIONS)

    def open(self) -> Source:
        return KafkaSource(
            name=SOURCE,
            bootstrap_servers=self._servers,
            topics=[self._topic],
            group=self._group,
            config={"session.timeout.ms": 1000},
        )

    def send(self, bodies: Sequence[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self._servers, "log_level": 0})
        for number, body in enumerate(bodies):
            producer.produce(self._topic, body, partition=number % PARTITIONS)
        assert producer.flush(10) == 0

    def send_again(self, bodies: Sequence[bytes]) -> bool:
        """As an operator does who rewinds."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("UPDATE riverbridge_position SET position = '0'")
        return True


class TestKafkaSource(SourceConformance):
    @pytest.fixture
    def harness(self, kafka: Broker, tables: Database) -> SourceHarness:
        return KafkaHarness(kafka, tables)
