"""Topics that get other partitions: keys move then, and the order of their messages breaks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

log = logging.getLogger("riverbridge.sinks.kafka")

_UNASSIGNED = "-1"
"""The partition of messages that have none yet."""


class _Partition(msgspec.Struct):
    unknown: bool = False


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Statistics(msgspec.Struct):
    topics: dict[str, _Topic] = {}


_decode = msgspec.json.Decoder(_Statistics).decode


class Partitions:
    """How many partitions each topic has, by what a sink's producers know: each places keys by its
    own knowledge, which is minutes old at most (`topic.metadata.refresh.interval.ms`).
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def watch(self) -> Callable[[str], None]:
        """For one producer: what its statistics are to be given to (`stats_cb`).

        Logs a change once, however many producers meet it.
        """
        known: dict[str, int] = {}

        def heard(statistics: str) -> None:
            for topic, count in _counts(statistics).items():
                if known.get(topic) == count:
                    continue
                known[topic] = count
                with self._lock:
                    before = self._counts.get(topic)
                    self._counts[topic] = count
                if before is None:
                    log.debug("topic %s has %d partitions", topic, count)
                elif before != count:
                    log.warning(
                        "topic %s has %d partitions now, it had %d: keys move to other partitions, "
                        "and what is sent now may be read before what was sent earlier for its key",
                        topic,
                        count,
                        before,
                    )

        return heard


def _counts(statistics: str) -> dict[str, int]:
    """The partitions of each topic that is there."""
    counts = {
        topic: sum(
            name != _UNASSIGNED and not partition.unknown
            for name, partition in found.partitions.items()
        )
        for topic, found in _decode(statistics).topics.items()
    }
    return {topic: count for topic, count in counts.items() if count}
