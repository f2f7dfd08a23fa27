"""What arrived in a Kafka topic, by job."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, Message, TopicPartition

from tests.support.database import new_name


def arrived(
    servers: str, topic: str, wanted: Iterable[int], within: float = 20.0
) -> collections.Counter[int]:
    """How often each job has come to `topic`, read until all of `wanted` are there."""
    return collections.Counter(job for job, _ in records(servers, topic, wanted, within))


def records(
    servers: str, topic: str, wanted: Iterable[int], within: float = 20.0
) -> list[tuple[int, Message]]:
    """The records of `topic` with the jobs they are of, read until all of `wanted` are there."""
    missing = set(wanted)
    found: list[tuple[int, Message]] = []
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": new_name("reader"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        # Asked, not assumed: a topic that a broker made for its asker has the broker's own number.
        partitions = consumer.list_topics(topic, timeout=within).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        end = time.monotonic() + within
        silence = 0
        # Two empty looks after the last one wanted: what comes twice is to be seen too.
        while (missing or silence < 2) and time.monotonic() < end:
            some = [one for one in consumer.consume(1000, timeout=0.3) if one.error() is None]
            silence = 0 if some else silence + 1
            for one in some:
                job = _job(one)
                found.append((job, one))
                missing.discard(job)
    finally:
        consumer.close()
    assert not missing, f"{len(missing)} jobs did not arrive, such as {sorted(missing)[:5]}"
    return found


def _job(message: Message) -> int:
    headers = dict(message.headers() or [])
    event = headers.get("event-id") or headers["ce_id"]
    assert isinstance(event, bytes)
    return int(event.decode().rpartition(":")[2])
