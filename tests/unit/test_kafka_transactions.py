"""Kafka in transactions, without a broker."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Mapping

from riverbridge.embedded.process import free_port
from riverbridge.model.outcome import Unreachable
from riverbridge.sinks.kafka_client import Client
from riverbridge.sinks.kafka_config import Value
from riverbridge.sinks.kafka_transactions import KafkaTransactions


def test_questions_without_an_answer_leave_no_producers_behind() -> None:
    made: list[weakref.ref[Client]] = []

    class Counted(KafkaTransactions):
        def _made(self, properties: Mapping[str, Value]) -> Client:
            client = super()._made(properties)
            made.append(weakref.ref(client))
            return client

    sink = Counted(bootstrap_servers=f"127.0.0.1:{free_port()}")
    try:
        for _ in range(4):
            assert isinstance(sink.ask("a", time.monotonic() + 0.1), Unreachable)
            left = made[-1]()
            assert left is not None
            left.join(5)
            del left
        gc.collect()
        # The last is kept until the next one is made.
        assert [ref() is None for ref in made] == [True, True, True, False]
    finally:
        sink.close()
