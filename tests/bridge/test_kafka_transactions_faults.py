"""Kafka in transactions on a broker that fails on command: what each failure makes of a batch.

The mock broker forgets the offsets of transactions: what is known of a batch is tried on the real
one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from riverbridge.embedded.process import free_port
from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Unreachable
from riverbridge.sinks.base import Entry, Message
from riverbridge.sinks.kafka_config import Value
from riverbridge.sinks.kafka_transactions import KafkaTransactions
from tests.support.mock_kafka import CONNECTION_LOST, INIT_PRODUCER_ID, PRODUCE, MockKafka
from tests.support.wait import eventually

TOPIC = "jobs"
SLOT = "riverbridge-out-1"
TIMEOUT = 2.0

MakeSink = Callable[..., KafkaTransactions]


@pytest.fixture
def mock(kafka_mock: MockKafka) -> MockKafka:
    kafka_mock.create_topic(TOPIC, 2)
    return kafka_mock


@pytest.fixture
def make_sink() -> Iterator[MakeSink]:
    with ExitStack() as stack:

        def make(servers: str, **config: Value) -> KafkaTransactions:
            sink = KafkaTransactions(
                bootstrap_servers=servers,
                config={name.replace("_", "."): value for name, value in config.items()},
                delivery_timeout=TIMEOUT,
            )
            stack.callback(sink.close)
            return sink

        yield make


@pytest.fixture
def sink(mock: MockKafka, make_sink: MakeSink) -> KafkaTransactions:
    """One that has the slot."""
    made = make_sink(mock.bootstrap_servers)
    assert ask(made) == Evidence()
    return made


def ask(sink: KafkaTransactions, within: float = 10.0) -> object:
    return sink.ask(SLOT, time.monotonic() + within)


def deliver(
    sink: KafkaTransactions, number: int, many: int = 3, within: float = 10.0
) -> list[Outcome]:
    sent = [Message(f"{n}", b"x", TOPIC, key=f"{n}") for n in range(many)]
    until = time.monotonic() + within
    outcomes = sink.deliver_entry(Entry(SLOT, number, range(many)), sent, until)
    assert len(outcomes) == many
    return outcomes


def kinds(outcomes: list[Outcome]) -> set[str]:
    return {type(outcome).__name__ for outcome in outcomes}


def recovers(sink: KafkaTransactions, number: int) -> None:
    """Whoever serves the slot asks first, and then sends."""

    def sent() -> bool:
        if not isinstance(ask(sink), Evidence):
            return False
        return deliver(sink, number) == [Delivered()] * 3

    eventually(sent, 20)


def test_nobody_there_at_the_start(make_sink: MakeSink) -> None:
    assert isinstance(ask(make_sink(f"127.0.0.1:{free_port()}"), 1.0), Unreachable)


def test_an_outage_is_unreachable_and_delivery_goes_on_after_it(
    mock: MockKafka, sink: KafkaTransactions
) -> None:
    assert deliver(sink, 1) == [Delivered()] * 3
    mock.set_broker_down()
    assert kinds(deliver(sink, 2)) == {"Unreachable"}
    assert isinstance(ask(sink, 1.0), Unreachable)
    mock.set_broker_up()
    recovers(sink, 3)


def test_retriable_errors_are_repeated_by_the_client(
    mock: MockKafka, sink: KafkaTransactions
) -> None:
    mock.push_errors(PRODUCE, 7, 19, 6, 20, CONNECTION_LOST)
    assert deliver(sink, 1) == [Delivered()] * 3


def test_a_slow_broker_is_not_waited_for_beyond_the_deadline(
    mock: MockKafka, sink: KafkaTransactions
) -> None:
    assert deliver(sink, 1) == [Delivered()] * 3
    mock.set_rtt(900)
    begun = time.monotonic()
    outcomes = deliver(sink, 2, within=0.5)
    assert kinds(outcomes) <= {"Unreachable", "InDoubt"}
    assert time.monotonic() - begun < 6.5  # what was begun is ended before that is said
    mock.set_rtt(0)
    recovers(sink, 3)


@pytest.mark.parametrize("code", [29, 31, 53], ids=["topic", "cluster", "transactional id"])
def test_a_right_that_is_missing_is_misconfigured(
    mock: MockKafka, make_sink: MakeSink, code: int
) -> None:
    sink = make_sink(mock.bootstrap_servers)
    if code == 29:
        assert ask(sink) == Evidence()
        mock.set_topic_error(TOPIC, code)
        outcomes = deliver(sink, 1)
        assert kinds(outcomes) == {"Misconfigured"}, outcomes
        return
    mock.push_errors(INIT_PRODUCER_ID, *[code] * 3)
    answer = ask(sink)
    assert isinstance(answer, Misconfigured)
    assert "authorization" in answer.error.lower()


def test_a_login_that_is_refused_is_misconfigured(mock: MockKafka, make_sink: MakeSink) -> None:
    sink = make_sink(
        mock.bootstrap_servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password="hunter22",
    )
    answer = ask(sink, 1.5)
    assert isinstance(answer, Misconfigured)
    assert "SASL" in answer.error
    assert "hunter22" not in answer.error
