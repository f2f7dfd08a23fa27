"""Kafka topics as a source. Positions are Postgres's to say; the group only deals out partitions.

A partition that the group assigns stays paused until its position was read from Postgres. What is
committed to the group afterwards is for tools that show how far it is, and is never read.

Nothing is handed over from a partition that was revoked. That this process may learn of it late is
no harm: the position in Postgres can be moved by one of two owners only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from riverbridge import telemetry
from riverbridge.errors import ConfigurationError
from riverbridge.sinks.kafka_config import Value, msk_token_source, scrub, secrets_of
from riverbridge.sources.base import Bounds, Event, Position
from riverbridge.sources.kafka_config import check_config, consumer_config

log = logging.getLogger(__name__)
_library_log = logging.getLogger("riverbridge.sources.kafka.librdkafka")

Start = Literal["earliest", "latest"]
Gap = Literal["stop", "earliest", "latest"]

_SLICE = 200
"""Records taken at once, after which their size is looked at."""
_SECOND = 1.0
"""Seconds between two commits to the group, and between two looks at the lag."""
_ASK = 5.0
"""Seconds that the brokers have to say where a partition begins and ends."""
_RETRY = 30.0
"""Seconds after which a partition that stands is tried again: an operator may have moved it."""
_GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class KafkaSource:
    """Reads topics as a member of a consumer group (`riverbridge.sources.base.Positioned`).

    name: of the source, for metrics and texts.
    start: where to begin with a topic of which no position is stored. Partitions that are added
        later are read from their beginning in any case.
    on_gap: what to do where the brokers do not have the position any more, or not yet, as where the
        topic was made anew. `stop` leaves the partition alone and says so, the others go on.
    config: librdkafka's properties; what would break a promise is refused.

    Raises ConfigurationError with one line per problem; makes no connection for that.
    """

    def __init__(
        self,
        *,
        name: str,
        bootstrap_servers: str,
        topics: Sequence[str],
        group: str,
        start: Start = "earliest",
        on_gap: Gap = "stop",
        config: Mapping[str, Value] | None = None,
        client_id: str = "riverbridge",
        msk_iam_region: str | None = None,
    ) -> None:
        config = dict(config or {})
        if problems := check_config(config, msk_iam_region=msk_iam_region):
            raise ConfigurationError(problems)
        properties: dict[str, object] = {
            **consumer_config(
                config,
                bootstrap_servers=bootstrap_servers,
                client_id=client_id,
                group=group,
                msk_iam_region=msk_iam_region,
            ),
            "error_cb": self._failed,
        }
        if msk_iam_region is not None:
            properties["oauth_cb"] = msk_token_source(msk_iam_region)
        self.name = name
        self._start, self._on_gap = start, on_gap
        self._secrets = secrets_of(config)
        self._trouble: str | None = None
        self._asked = 0.0
        self._placed: dict[str, int] = {}
        self._unplaced: set[str] = set()
        self._standing: dict[str, str] = {}
        self._retry_at = 0.0
        self._jumps: dict[str, int] = {}
        self._paused = False
        self._moved = False
        self._uncommitted: dict[str, int] = {}
        self._looked = time.monotonic()
        self._behind: int | None = None
        self._consumer = Consumer(properties, logger=_library_log)
        self._consumer.subscribe(
            list(topics),
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        """The next records; those of revoked partitions are left out."""
        if self._paused:
            self._consumer.resume(_partitions(self._placed))
            self._paused = False
        self._moved = False
        events: list[Event] = []
        size = 0
        first = self._consumer.poll(bounds.seconds)
        messages = [] if first is None else [first]
        while messages:
            for message in messages:
                if (event := self._event(message)) is not None:
                    events.append(event)
                    size += len(event.body or b"")
            if size >= bounds.size or len(events) >= bounds.count:
                break
            messages = self._consumer.consume(min(_SLICE, bounds.count - len(events)), 0)
        if self._moved:
            events = [e for e in events if e.position and e.position.partition in self._placed]
        self._look()
        return events

    def acknowledge(self, events: Sequence[Event]) -> None:
        """Have the group told, at most once a second, how far it is."""
        for event in events:
            assert event.position is not None
            self._uncommitted[event.position.partition] = int(event.position.after)

    def release(self, events: Sequence[Event]) -> None:
        """Read their partitions again, from where Postgres says."""
        for partition in {event.position.partition for event in events if event.position}:
            self._hold(partition)

    def idle(self, seconds: float) -> None:
        """Stay a member of the group, and take nothing."""
        if not self._paused:
            self._consumer.pause(_partitions(self._placed))
            self._paused = True
        message = self._consumer.poll(seconds)
        if message is not None and message.error() is None:
            # It was on its way already, and is not to be passed over.
            self._hold(_name(message.topic(), message.partition()))
        elif message is not None:
            self._event(message)
        self._look()

    def problem(self) -> str | None:
        """What no event can come for: no brokers, no rights, or partitions that stand."""
        # Copied at once: another thread may ask.
        return "; ".join(sorted(self._standing.values())[:3]) or self._trouble

    def lag(self) -> int | None:
        """The records behind those that were read of this process' partitions."""
        return self._behind

    def close(self) -> None:
        """Leave the group."""
        self._commit()
        self._consumer.close()

    def unplaced(self) -> Sequence[str]:
        """Partitions that were assigned, or released, and from time to time those that stand."""
        if self._standing and time.monotonic() > self._retry_at:
            self._retry_at = time.monotonic() + _RETRY
            return sorted(self._unplaced | self._standing.keys())
        return sorted(self._unplaced)

    def starts(self, partitions: Sequence[str], known: Collection[str]) -> Mapping[str, str]:
        """The first offset that the brokers have of each; or, of a new topic, where `start` says.

        Of a new topic those of all partitions: to the next member the topic is not new.
        """
        latest: set[str] = set()
        if self._start == "latest":
            topics = {_topic(name) for name in partitions} - {_topic(name) for name in known}
            try:
                latest = {name for topic in topics for name in self._all_of(topic)}
            except KafkaException as error:
                self._failed(error.args[0])
                return {}
        found = {}
        for partition in {*partitions, *latest}:
            if (ends := self._ends(partition)) is None:
                return {}  # all or none: to be tried again
            found[partition] = str(ends[1 if partition in latest else 0])
        return found

    def place(self, positions: Mapping[str, str]) -> None:
        """Read on from there; or, where there is a gap to be jumped over, from behind it."""
        for partition, position in positions.items():
            if partition not in self._unplaced and partition not in self._standing:
                continue
            offset = self._jumps.pop(partition, int(position))
            where = _partition(partition, offset)
            # Assigned anew, so that nothing comes any more of what was fetched before.
            self._consumer.incremental_unassign([where])
            self._consumer.incremental_assign([where])
            if self._paused:  # as the others are: `receive` resumes them all
                self._consumer.pause([where])
            else:
                self._consumer.resume([where])
            self._placed[partition] = offset
            self._unplaced.discard(partition)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Not from where the group says, and not before it is known from where.
        consumer.incremental_assign([TopicPartition(p.topic, p.partition, 0) for p in partitions])
        consumer.pause(partitions)
        self._unplaced.update(_name(p.topic, p.partition) for p in partitions)
        self._trouble = None

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit()
        self._moved = True
        for each in partitions:
            name = _name(each.topic, each.partition)
            for known in (self._placed, self._standing, self._jumps, self._uncommitted):
                known.pop(name, None)
            self._unplaced.discard(name)
        consumer.incremental_unassign(partitions)

    def _hold(self, partition: str) -> None:
        """Take nothing from it until it is placed."""
        if self._placed.pop(partition, None) is not None:
            self._unplaced.add(partition)
            self._consumer.pause([_partition(partition)])

    def _event(self, message: Message) -> Event | None:
        """The record as an event; None for what is none, and for what is not to be read now."""
        if (error := message.error()) is not None:
            self._refused(message, error)
            return None
        topic, number, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert number is not None
        assert offset is not None
        partition = _name(topic, number)
        if offset < self._placed.get(partition, offset + 1):
            return None
        self._placed[partition] = offset + 1
        # It was given back for one more try, and goes on.
        if self._standing and self._standing.pop(partition, None) is not None:
            log.warning("source %s: %s goes on at offset %d", self.name, partition, offset)
        self._trouble = None
        return Event(
            f"{partition}@{offset}",
            message.value(),
            topic,
            message.key(),
            _headers(message),
            _instant(message),
            Position(partition, str(offset + 1)),
        )

    def _refused(self, message: Message, error: KafkaError) -> None:
        code, topic, number = error.code(), message.topic(), message.partition()
        if code in _GONE and topic is not None and number is not None and number >= 0:
            self._gap(_name(topic, number))
        elif code != KafkaError._PARTITION_EOF:
            self._failed(error)

    def _gap(self, partition: str) -> None:
        """The brokers have nothing at the position: it was deleted, or never was there."""
        position = self._placed.get(partition)
        if position is None:
            return
        ends = self._ends(partition)
        self._hold(partition)
        if ends is None:
            return  # nobody knows where to go: it is tried again
        low, high = ends
        if low <= position <= high:
            return
        if position > high:
            what = f"the topic ends at {high}: it was made anew, or lost records"
        else:
            what = f"the first that is left is {low}: {low - position} offsets are gone"
        if self._on_gap == "stop":
            text = f"{partition} stands at offset {position}, but {what}"
            if partition not in self._standing:
                log.error("source %s: %s; set ON_GAP, or its position", self.name, text)
            self._standing[partition] = text
            self._unplaced.discard(partition)
            self._retry_at = time.monotonic() + _RETRY
            return
        target = low if self._on_gap == "earliest" else high
        self._jumps[partition] = target
        log.error(
            "source %s: %s was at offset %d, but %s; goes on at %d (on_gap=%s)",
            self.name, partition, position, what, target, self._on_gap,
        )  # fmt: skip

    def _all_of(self, topic: str) -> list[str]:
        """The partitions of a topic that the group has dealt some of."""
        found = self._consumer.list_topics(topic, timeout=_ASK).topics[topic]
        return [_name(topic, number) for number in found.partitions]

    def _ends(self, partition: str) -> tuple[int, int] | None:
        """Its first offset, and the one after its last; None if the brokers do not say."""
        try:
            found = self._consumer.get_watermark_offsets(_partition(partition), timeout=_ASK)
        except KafkaException as error:
            self._failed(error.args[0])
            return None
        return None if found is None else (found[0], found[1])

    def _failed(self, error: KafkaError) -> None:
        text = scrub(f"Kafka: {error.name()}: {error.str()}", self._secrets)
        if text != self._trouble:
            log.warning("source %s: %s", self.name, text)
        self._trouble = text
        if error.fatal():
            raise KafkaException(error)

    def _look(self) -> None:
        """Once a second: commit, say how far behind it is, and see whether a trouble is over."""
        now = time.monotonic()
        if now - self._looked < _SECOND:
            return
        self._looked = now
        self._commit()
        behind = 0
        for partition, position in self._placed.items():
            ends = self._consumer.get_watermark_offsets(_partition(partition), cached=True)
            if ends is not None and ends[1] > position:
                behind += ends[1] - position
        labels = {"source": self.name}
        self._behind = behind
        telemetry.source_lag.set(behind, labels)
        telemetry.source_stopped.set(len(self._standing), labels)
        if self._trouble is not None and self._placed and now - self._asked > _ASK:
            self._asked = now
            if self._ends(next(iter(self._placed))) is not None:
                self._trouble = None

    def _commit(self) -> None:
        if self._uncommitted:
            offsets = [_partition(name, at) for name, at in self._uncommitted.items()]
            self._uncommitted.clear()
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                log.debug("source %s: the group was not told: %s", self.name, error)


def _name(topic: str | None, partition: int | None) -> str:
    return f"{topic}/{partition}"


def _topic(name: str) -> str:
    return name.rpartition("/")[0]


def _partition(name: str, offset: int = 0) -> TopicPartition:
    topic, _, number = name.rpartition("/")
    return TopicPartition(topic, int(number), offset)


def _partitions(names: Mapping[str, int]) -> list[TopicPartition]:
    return [_partition(name) for name in names]


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    given = message.headers()
    if not given:
        return ()
    pairs = given.items() if isinstance(given, dict) else given
    return tuple(
        (name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs
    )


def _instant(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
