"""What a consumer group's offsets say of a slot: the number of its last batch, and a bitmap."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from riverbridge.model.evidence import Evidence, from_text
from riverbridge.sinks.kafka_config import Value

_NOT_OURS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART})
"""Of a topic that came into being, or went, between two questions."""
_MOVING = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)
_PAUSE = 0.05


class Ledger:
    """Reads the offsets."""

    def __init__(
        self,
        properties: Mapping[str, Value],
        token_source: Callable[[str], tuple[str, float]] | None,
    ) -> None:
        self._properties: dict[str, Any] = {
            **properties,
            "log_level": 0,
            # What a transaction has not yet ended is waited for, not passed over.
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
        if token_source is not None:
            self._properties["oauth_cb"] = token_source

    def read(self, slot: str, deadline: float) -> Evidence:
        """The last batch that was committed. Raises KafkaException, or ValueError for an offset
        that is not ours.

        An offset is of a topic, and a batch's is of whichever its first message went to: so all are
        asked for. (The admin client can ask for a group's offsets without naming topics, but the
        library crashes where a coordinator is just moving.)
        """
        consumer = Consumer(self._properties | {"group.id": slot})
        try:
            topics = consumer.list_topics(timeout=_left(deadline)).topics
            places = [TopicPartition(topic, 0) for topic in topics if not topic.startswith("__")]
            found = _committed(consumer, places, deadline) if places else []
        finally:
            consumer.close()
        last: TopicPartition | None = None
        for place in found:
            if place.error is not None and place.error.code() not in _NOT_OURS:
                raise KafkaException(place.error)
            if place.offset >= 0 and (last is None or place.offset > last.offset):
                last = place
        return Evidence() if last is None else Evidence(last.offset, from_text(last.metadata or ""))


def _committed(
    consumer: Consumer, places: list[TopicPartition], deadline: float
) -> list[TopicPartition]:
    while True:
        try:
            return consumer.committed(places, timeout=_left(deadline))
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() + _PAUSE >= deadline:
                raise
        time.sleep(_PAUSE)


def _left(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())
