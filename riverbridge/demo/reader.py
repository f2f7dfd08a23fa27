"""`python -m riverbridge.demo.reader`: reads both sinks back, in a process of its own.

It knows nothing of the bridge. It reads the topic from offset 0 and drains the queue, tells events
apart by their id, and holds them against the committed orders. Ten times a second it prints a
report. SIGUSR1 says that nothing more will come: it then reads to the end, compares, and exits.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import boto3
import botocore.config
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from riverbridge.demo.report import Report, SinkCount, order_of
from riverbridge.sql import statement
from riverbridge.store.database import Connection, connector

EVERY = 0.1
"""Seconds between reports."""

END = 120.0
"""Seconds that reading to the end may take."""

SQS_THREADS = 2


class Tally:
    """The events read from one sink."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: dict[str, int] = {}
        self._fresh: list[str] = []
        self._extra = 0

    def add(self, event: str) -> None:
        with self._lock:
            seen = self._copies.get(event, 0)
            self._copies[event] = seen + 1
            if seen:
                self._extra += 1
            else:
                self._fresh.append(event)

    def fresh(self) -> list[str]:
        """The events first seen since the last call."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            return fresh

    def events(self) -> set[str]:
        with self._lock:
            return set(self._copies)

    def count(self, strangers: set[str]) -> SinkCount:
        with self._lock:
            known = len(self._copies) - sum(event in self._copies for event in strangers)
            return SinkCount(known, self._extra)


def read_topic(servers: str, topic: str, tally: Tally, finish: threading.Event) -> None:
    """Read every partition from offset 0; once `finish` is set, up to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "riverbridge-demo-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
    )
    try:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        next_offset = dict.fromkeys(found.partitions, 0)
        consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in next_offset])
        ends: dict[int, int] | None = None
        while ends is None or any(next_offset[part] < end for part, end in ends.items()):
            if ends is None and finish.is_set():
                ends = {part: _end(consumer, topic, part) for part in next_offset}
            for message in consumer.consume(1000, timeout=0.1):
                error = message.error()
                if error is not None:
                    if not (error.retriable() or error.code() == KafkaError._TRANSPORT):
                        raise KafkaException(error)
                    continue
                part, offset = message.partition(), message.offset()
                event = dict(message.headers() or ())["ce_id"]
                assert part is not None  # both None only of what was never sent
                assert offset is not None
                assert isinstance(event, bytes)
                next_offset[part] = offset + 1
                tally.add(event.decode())
    finally:
        consumer.close()


def _end(consumer: Consumer, topic: str, part: int) -> int:
    return int(consumer.get_watermark_offsets(TopicPartition(topic, part), timeout=10)[1])


def read_queue(
    endpoint: str, url: str, tally: Tally, finish: threading.Event, received: set[str]
) -> None:
    """Receive, count and delete; once `finish` is set, until the queue is empty.

    received: the ids of messages, shared by the threads: one received twice is no second copy.
    """
    client = boto3.client(
        "sqs",
        endpoint_url=endpoint,
        config=botocore.config.Config(read_timeout=20, retries={"mode": "standard"}),
    )
    try:
        while True:
            ending = finish.is_set()
            got = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["ce_id"],
                WaitTimeSeconds=0 if ending else 1,
            ).get("Messages", [])
            for message in got:
                if message["MessageId"] not in received:
                    received.add(message["MessageId"])
                    tally.add(message["MessageAttributes"]["ce_id"]["StringValue"])
            if got:
                entries = [
                    {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                    for place, message in enumerate(got)
                ]
                client.delete_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
            elif ending:
                left = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
                visible = int(left["Attributes"]["ApproximateNumberOfMessages"])
                if visible + int(left["Attributes"]["ApproximateNumberOfMessagesNotVisible"]) == 0:
                    return
                time.sleep(0.02)  # the other thread is about to delete what it received
    finally:
        client.close()


class Reader:
    """Both sinks' threads, and the comparison with the orders."""

    def __init__(self, connection: Connection) -> None:
        self.kafka = Tally()
        self.sqs = Tally()
        self.finish = threading.Event()
        self.failure: str | None = None
        self._connection = connection
        self._strangers: set[str] = set()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, read: Callable[[], None]) -> None:
        def run() -> None:
            try:
                read()
            except Exception as error:  # the whole process ends with it, and says so
                self.failure = f"{name}: {type(error).__name__}: {error}"

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def reading(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self, within: float) -> None:
        """Wait until everything is read, or for `within` seconds."""
        until = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def report(self) -> Report:
        """What was read so far. What is delivered is committed, so strangers show at once."""
        fresh = {*self.kafka.fresh(), *self.sqs.fresh()}
        if fresh:
            ids = [order for event in fresh if (order := order_of(event)) is not None]
            rows = self._connection.execute(statement("demo/known"), {"ids": ids}).fetchall()
            known = {row[0] for row in rows}
            self._strangers |= {event for event in fresh if order_of(event) not in known}
        strangers = self._strangers
        return Report(self.kafka.count(strangers), self.sqs.count(strangers), len(strangers))

    def compare(self) -> Report:
        """The reckoning, once everything is read."""
        report = self.report()
        committed = {row[0] for row in self._connection.execute(statement("demo/committed"))}
        lost = sum(
            len(committed - {order_of(event) for event in tally.events()})
            for tally in (self.kafka, self.sqs)
        )
        return msgspec.structs.replace(report, final=True, committed=len(committed), lost=lost)


def main() -> int:
    parser = argparse.ArgumentParser(prog="riverbridge.demo.reader")
    for name in ("bootstrap-servers", "topic", "endpoint-url", "queue-url"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with connector(os.environ["DATABASE_URL"], application_name="reader")() as connection:
        reader = Reader(connection)
        signal.signal(signal.SIGUSR1, lambda *_: reader.finish.set())
        received: set[str] = set()
        reader.start(
            "kafka",
            lambda: read_topic(
                options.bootstrap_servers, options.topic, reader.kafka, reader.finish
            ),
        )
        for _ in range(SQS_THREADS):
            reader.start(
                "sqs",
                lambda: read_queue(
                    options.endpoint_url, options.queue_url, reader.sqs, reader.finish, received
                ),
            )
        limit = float("inf")
        while reader.reading and reader.failure is None:
            _print(reader.report())
            if reader.finish.wait(EVERY):
                limit = min(limit, time.monotonic() + END)
                reader.join(EVERY)
            if time.monotonic() > limit:
                reader.failure = f"could not read to the end within {END:g} s"
        if reader.failure is not None:
            print(f"reading back failed: {reader.failure}", file=sys.stderr)
            return 1
        _print(reader.compare())
    return 0


def _print(report: Report) -> None:
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
