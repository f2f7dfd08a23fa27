"""What Kafka can carry: checked before anything is handed to the client."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from riverbridge.sinks.base import Message

TOPIC_LENGTH = 249
ANY = -1
"""The partition that the key decides (librdkafka's RD_KAFKA_PARTITION_UA)."""

_TOPIC = re.compile(rf"[a-zA-Z0-9._-]{{1,{TOPIC_LENGTH}}}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def topic_problem(topic: str) -> str | None:
    """Why no broker can have a topic of this name; None if one can."""
    if _TOPIC.fullmatch(topic) and topic not in (".", ".."):
        return None
    if not topic:
        return "topic: empty; check the sink's topic template"
    shown = ascii(topic[:80])
    return (
        f"topic: {shown} is no Kafka topic name; 1 to {TOPIC_LENGTH} of a-z A-Z 0-9 . _ - "
        f"and neither . nor .. (it has {len(topic)} characters)"
    )


def too_large(message: Message, limit: int, whose: str) -> str:
    """The error text for a message that does not fit into `limit` bytes."""
    body = len(message.body or b"")
    key = len((message.key or "").encode("utf-8", "replace"))
    headers = sum(
        len(n.encode("utf-8", "replace")) + len(v.encode("utf-8", "replace"))
        for n, v in message.headers
    )
    return (
        f"message too large: {body + key + headers} bytes (body {body}, key {key}, "
        f"headers {headers}) and framing; {whose} {limit}"
    )


def no_partition(message: Message) -> str:
    """The error text for a message to a partition that is not there."""
    return (
        f"topic {message.destination} has no partition {message.partition}; "
        "check the sink's PARTITION, or give the topic more partitions"
    )


def milliseconds(instant: datetime | None) -> int:
    """A record timestamp: milliseconds since 1970, 0 for "now", also for what was before 1970."""
    return 0 if instant is None else max(0, (instant - _EPOCH) // _MILLISECOND)
