"""The Kafka sink does what every sink has to do, with Apache Kafka behind a login and a proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as Record
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from riverbridge.sinks.base import Sink
from riverbridge.sinks.kafka import KafkaSink
from riverbridge.testing.conformance import SinkConformance
from riverbridge.testing.harness import Received, SinkHarness
from riverbridge.testing.proxy import Proxy
from tests.support.database import new_name
from tests.support.parts import part
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.real_kafka

PARTITIONS = 2
LIMIT = 20_000
"""Bytes that the topic takes; the client would send more."""
SECRETS = ("s3cret-of-the-suite", "wr0ng-in-the-suite")
LISTENER = "LOGIN"


class Ground(NamedTuple):
    """A broker, and the proxy by which its listener with a login is reached."""

    broker: RealKafka
    proxy: Proxy


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    with part("real_kafka"):
        broker = RealKafka(
            listeners={LISTENER: "SASL_PLAINTEXT"},
            properties={
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.login.plain.sasl.jaas.config": (
                    f'{module} required user_pat="{SECRETS[0]}";'
                ),
            },
        )
    with Proxy(int(broker.servers(LISTENER).rpartition(":")[2])) as proxy:
        broker.advertise(LISTENER, proxy.port)
        with broker:
            yield Ground(broker, proxy)


class KafkaHarness(SinkHarness):
    """A topic; what is in it is read without the login and the proxy."""

    secrets = SECRETS

    def __init__(self, ground: Ground) -> None:
        self.proxy = ground.proxy
        self.destination = new_name("conformance")
        servers = ground.broker.bootstrap_servers
        topic = NewTopic(self.destination, PARTITIONS, config={"max.message.bytes": str(LIMIT)})
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([topic])[self.destination].result(10)
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader"})
        self._consumer.assign([TopicPartition(self.destination, n, 0) for n in range(PARTITIONS)])
        self._got: list[Received] = []

    def close(self) -> None:
        self._consumer.close()

    def open(self, delivery_timeout: float) -> Sink:
        return self._sink(delivery_timeout, SECRETS[0])

    def _sink(self, delivery_timeout: float, password: str) -> Sink:
        assert self.proxy is not None
        config: Mapping[str, str] = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "pat",
            "sasl.password": password,
        }
        return KafkaSink(
            bootstrap_servers=f"127.0.0.1:{self.proxy.port}",
            config=config,
            delivery_timeout=delivery_timeout,
        )

    def received(self) -> Sequence[Received]:
        while records := self._consumer.consume(1000, timeout=0.1):
            self._got += [as_received(record) for record in records]
        return self._got

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        return self._sink(delivery_timeout, SECRETS[1])

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return self.open(delivery_timeout), new_name("missing")

    def too_large(self) -> bytes:
        return b"x" * LIMIT


def as_received(record: Record) -> Received:
    assert record.error() is None, record.error()
    given = record.headers()
    assert isinstance(given, list)
    headers = tuple((name, _text(value) or "") for name, value in given)
    return Received(dict(headers)["ce_id"], record.value(), _text(record.key()), headers)


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


class TestKafka(SinkConformance):
    @pytest.fixture
    def harness(self, ground: Ground) -> Iterator[SinkHarness]:
        harness = KafkaHarness(ground)
        yield harness
        harness.close()
