"""Reading a topic back, as a consumer of the user's would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as Record


def read_until(
    bootstrap_servers: str,
    topic: str,
    enough: Callable[[Sequence[Record]], bool],
    *,
    partitions: int = 1,
    within: float = 20.0,
) -> list[Record]:
    """The topic's records from the beginning on, until they are `enough`, or an AssertionError.

    Watermarks are not asked for: Tansu's count the batches of an idempotent producer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, place, 0) for place in range(partitions)])
        found: list[Record] = []
        limit = time.monotonic() + within
        while not enough(found):
            assert time.monotonic() < limit, f"{len(found)} records came within {within:g} s"
            found += [r for r in consumer.consume(1000, timeout=0.5) if r.error() is None]
        return found
    finally:
        consumer.close()


def header(record: Record, name: str) -> str:
    """The one value of a header."""
    headers = record.headers()
    assert isinstance(headers, list)
    [value] = [value for key, value in headers if key == name]
    assert value is not None
    return value if isinstance(value, str) else value.decode()
