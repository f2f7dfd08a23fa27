"""The Kafka sink against Apache Kafka itself."""

from __future__ import annotations

import base64
import gc
import logging
import subprocess
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Message as Record
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent
from riverbridge.sinks.base import Message
from riverbridge.sinks.kafka import KafkaSink
from riverbridge.sinks.kafka_config import Value
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, new_name
from tests.support.real_kafka import RealKafka
from tests.support.records import header, read_until
from tests.support.wait import eventually

PARTITIONS = 5
PARTITION_JAVA = Path(__file__).parents[1] / "support" / "kafka" / "Partition.java"


@pytest.fixture
def topic(real_kafka: RealKafka) -> str:
    name = new_name("real")
    real_kafka.create_topic(name, PARTITIONS)
    return name


@pytest.fixture
def make_sink(real_kafka: RealKafka) -> Iterator[Callable[..., KafkaSink]]:
    with ExitStack() as stack:

        def make(**config: Value) -> KafkaSink:
            sink = KafkaSink(
                bootstrap_servers=real_kafka.bootstrap_servers,
                config={name.replace("_", "."): value for name, value in config.items()},
            )
            stack.callback(sink.close)
            return sink

        yield make


def deliver(sink: KafkaSink, sent: list[Message]) -> list[Outcome]:
    outcomes = sink.deliver(sent, time.monotonic() + 15)
    assert len(outcomes) == len(sent)
    return outcomes


def read(kafka: RealKafka, topic: str, count: int, partitions: int = PARTITIONS) -> list[Record]:
    """The records of the topic, of which there must be exactly `count`: Kafka says where it ends.

    Nothing but records of ours takes an offset, as the sink sends outside transactions.
    """
    found = read_until(
        kafka.bootstrap_servers, topic, lambda so_far: len(so_far) >= count, partitions=partitions
    )
    assert len(found) == count
    assert kafka.records(topic, partitions) == count
    return found


def test_two_thousand_messages_arrive_as_they_are(
    real_kafka: RealKafka, topic: str, make_sink: Callable[..., KafkaSink]
) -> None:
    at = datetime(2021, 3, 4, 5, 6, 7, 891_999, tzinfo=UTC)
    sent = [
        Message(
            id=f"db:{n}",
            body=None if n % 10 == 0 else b"" if n % 10 == 1 else b'{"n": %d, "e": "\xc3\xa9"}' % n,
            destination=topic,
            key=f"kunde-{n}-ü",
            headers=(("twice", "1"), ("n", str(n)), ("twice", "2"), ("empty", ""), ("ü", "日本")),
            timestamp=at + timedelta(milliseconds=n),
        )
        for n in range(2000)
    ]
    sink = make_sink(compression_type="zstd")
    start = time.monotonic()
    assert deliver(sink, sent) == [Delivered()] * 2000
    print(f"2,000 messages in {time.monotonic() - start:.3f} s")
    by_key = {str(message.key).encode(): message for message in sent}
    for record in read(real_kafka, topic, 2000):
        message = by_key.pop(record.key() or b"")
        assert record.value() == message.body
        assert record.headers() == [(name, value.encode()) for name, value in message.headers]
        assert message.timestamp is not None
        create_time = 1
        milliseconds = 1_614_834_367_891 + int(header(record, "n"))
        assert record.timestamp() == (create_time, milliseconds)
    assert not by_key
    codecs = {batch["compresscodec"] for batch in real_kafka.batches(topic, PARTITIONS)}
    producers = {batch["producerId"] for batch in real_kafka.batches(topic, PARTITIONS)}
    assert codecs == {"zstd"}
    # One producer with an identity sent them all: idempotence was on.
    assert len(producers) == 1
    assert producers != {"-1"}


def test_keys_go_where_javas_producer_sends_them(
    real_kafka: RealKafka, topic: str, make_sink: Callable[..., KafkaSink]
) -> None:
    keys = ["", " ", "21", "foobar", "a" * 10_000, "ключ", "日本語", "🚢" * 300, "a\0b"]
    keys += [f"customer-{n}" for n in range(91)] + [f"{n}-ж" * (n % 7 + 1) for n in range(100)]
    assert len(keys) == 200
    said = javas_choice(real_kafka, keys, PARTITIONS)
    assert said[b"21"][1] == -973932308  # the hash of "21" in Kafka's own tests
    partitions = {key: where for key, (where, _) in said.items()}
    sent = [Message(id=str(n), body=b"x", destination=topic, key=k) for n, k in enumerate(keys)]
    sent += [Message(id="none", body=b"none", destination=topic)] * 3
    assert deliver(make_sink(), sent) == [Delivered()] * 203
    found = read(real_kafka, topic, 203)
    assert {r.key(): r.partition() for r in found if r.key() is not None} == partitions
    assert set(partitions.values()) == set(range(PARTITIONS))
    assert [r.value() for r in found if r.key() is None] == [b"none"] * 3


def javas_choice(kafka: RealKafka, keys: list[str], partitions: int) -> dict[bytes, list[int]]:
    """The partition of each key and its hash, as Java's producer has them."""
    lines = b"".join(base64.b64encode(key.encode()) + b"\n" for key in keys)
    done = subprocess.run(
        kafka.java(str(PARTITION_JAVA), str(partitions)),
        input=lines, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    said = [[int(number) for number in line.split()] for line in done.stdout.decode().splitlines()]
    return {key.encode(): pair for key, pair in zip(keys, said, strict=True)}


def test_a_missing_topic_is_misconfigured_and_served_once_it_is_there(
    real_kafka: RealKafka, topic: str, make_sink: Callable[..., KafkaSink]
) -> None:
    missing = new_name("missing")
    sent = [Message(id=str(n), body=b"x", destination=missing, key=str(n)) for n in range(3)]
    sent.append(Message(id="good", body=b"x", destination=topic))
    sink = make_sink()
    for _ in range(2):
        *refused, good = deliver(sink, sent)
        assert good == Delivered()
        assert {type(outcome) for outcome in refused} == {Misconfigured}
        assert all(missing in str(outcome) for outcome in refused)
    real_kafka.create_topic(missing)
    start = time.monotonic()
    eventually(lambda: deliver(sink, sent) == [Delivered()] * 4)
    print(f"a new topic was served {time.monotonic() - start:.2f} s after it was made")
    read(real_kafka, missing, 3, partitions=1)


def test_a_topic_that_is_deleted_is_misconfigured_until_it_is_made_again(
    real_kafka: RealKafka, topic: str, make_sink: Callable[..., KafkaSink]
) -> None:
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    sent = [Message(id=str(n), body=b"%d" % n, destination=topic, key=str(n)) for n in range(20)]
    sink = make_sink()
    assert deliver(sink, sent) == [Delivered()] * 20
    admin.delete_topics([topic])[topic].result(10)
    eventually(lambda: set(map(type, deliver(sink, sent))) == {Misconfigured}, 20)
    real_kafka.create_topic(topic, PARTITIONS)
    eventually(lambda: deliver(sink, sent) == [Delivered()] * 20)


def test_partitions_that_are_added_are_used_as_java_would(
    real_kafka: RealKafka,
    topic: str,
    make_sink: Callable[..., KafkaSink],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And nothing is refused meanwhile. That keys move is Kafka's own doing, and it is said."""
    more = PARTITIONS + 2
    keys = [f"customer-{n}" for n in range(100)]
    sink = make_sink(topic_metadata_refresh_interval_ms=200, statistics_interval_ms=100)

    def send(body: bytes) -> None:
        sent = [Message(id=key, body=body, destination=topic, key=key) for key in keys]
        assert deliver(sink, sent) == [Delivered()] * 100

    def seen() -> bool:
        send(b"between")
        return real_kafka.records(topic, more) > real_kafka.records(topic, PARTITIONS)

    caplog.set_level(logging.DEBUG, "riverbridge.sinks.kafka")
    send(b"before")
    eventually(lambda: f"topic {topic} has {PARTITIONS} partitions" in caplog.text)
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, more)])[topic].result(10)
    eventually(seen, every=0.1)
    send(b"after")
    found = read(real_kafka, topic, real_kafka.records(topic, more), more)
    told = f"topic {topic} has {more} partitions now, it had {PARTITIONS}: keys move"
    eventually(lambda: told in caplog.text)
    assert caplog.text.count(told) == 1
    after = {record.key(): record.partition() for record in found if record.value() == b"after"}
    assert after == {k: where for k, (where, _) in javas_choice(real_kafka, keys, more).items()}


def test_what_was_refused_does_not_keep_a_closed_sink_alive(real_kafka: RealKafka) -> None:
    sink = KafkaSink(bootstrap_servers=real_kafka.bootstrap_servers)
    sent = [Message(id=str(n), body=b"x", destination=new_name("missing")) for n in range(3)]
    for _ in range(3):  # from the second time on librdkafka itself refuses the topic
        assert {type(outcome) for outcome in deliver(sink, sent)} == {Misconfigured}
    sink.close()
    ended = weakref.ref(sink)
    del sink
    gc.collect()
    assert ended() is None


def test_only_what_is_too_large_for_the_topic_is_refused(
    real_kafka: RealKafka, make_sink: Callable[..., KafkaSink]
) -> None:
    topic = new_name("small")
    limited = NewTopic(topic, num_partitions=1, config={"max.message.bytes": "20000"})
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    admin.create_topics([limited])[topic].result(10)
    sent = [Message(id=str(n), body=b"x" * 1000, destination=topic, key="k") for n in range(150)]
    # All 150 make a batch of 150 kB: the broker refuses each batch, though its messages are small.
    sent[70] = Message(id="70", body=b"y" * 30_000, destination=topic, key="k")
    for sink in (make_sink(), make_sink(linger_ms=50)):
        start = time.monotonic()
        outcomes = deliver(sink, sent)
        print(f"sorted out in {time.monotonic() - start:.2f} s")
        assert isinstance(outcomes.pop(70), Permanent)
        assert outcomes == [Delivered()] * 149
    found = read(real_kafka, topic, 2 * 149, partitions=1)
    assert {r.value() for r in found} == {b"x" * 1000}


JOBS = 20_000


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_broker_under_load_loses_nothing(
    database: Database, real_kafka: RealKafka, topic: str, end: str
) -> None:
    """Shut down, Kafka is back within the delivery timeout, and the client sends on by itself.

    Killed, it first waits for its own session to end (9 s), and the messages are released.
    """
    env = {
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": real_kafka.bootstrap_servers,
        "SINKS__EVENTS__TOPIC": topic,
    }
    with BridgeProcess(database, env) as bridge, database.connect() as connection:
        load = threading.Thread(target=insert_slowly, args=(database,))
        load.start()
        try:
            eventually(lambda: completed(connection) >= JOBS // 10, 20)
            down = time.monotonic()
            getattr(real_kafka, end)()
            real_kafka.start()
            back = time.monotonic()
            before = completed(connection)
            eventually(lambda: completed(connection) > before)
            resumed = time.monotonic() - back
        finally:
            load.join(60)
        assert before < JOBS
        eventually(lambda: completed(connection) == JOBS, 40, every=0.1)
        assert bridge.running
        rows = connection.execute(
            "SELECT id, attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
        ).fetchall()
    ids = {id_ for id_, _, _ in rows}
    found = read_until(
        real_kafka.bootstrap_servers, topic,
        lambda so_far: len(so_far) >= real_kafka.records(topic, PARTITIONS), partitions=PARTITIONS,
    )  # fmt: skip
    counts = Counter(int(header(r, "ce_id").rpartition(":")[2]) for r in found)
    attempts = Counter(attempt for _, attempt, _ in rows)
    print(
        f"{end}: down for {back - down:.1f} s, {before} of {JOBS} done by then, resumed after "
        f"{resumed:.2f} s, twice: {len(found) - JOBS}, attempts: {dict(attempts)}"
    )
    assert counts.keys() == ids
    assert resumed < 5
    # Nobody answered: no attempt was spent, and every row reads as if nothing had happened.
    assert {(attempt, errors) for _, attempt, errors in rows} == {(1, 0)}


def insert_slowly(database: Database) -> None:
    """`JOBS` jobs in about eight seconds, so that the restart comes in the middle."""
    paced = threading.Event()
    with database.connect() as connection:
        for _ in range(80):
            connection.execute(
                "INSERT INTO river_job (kind, queue, max_attempts, args)"
                " SELECT 'test', 'outbox', 1, '{}' FROM generate_series(1, %s)",
                (JOBS // 80,),
            )
            paced.wait(0.1)


def completed(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute("SELECT count(*) FROM river_job WHERE state = 'completed'").fetchone()
    assert row is not None
    return row[0]


def test_a_partition_that_the_topic_gets_later_is_found(
    real_kafka: RealKafka, topic: str, make_sink: Callable[..., KafkaSink]
) -> None:
    sink = make_sink()
    sent = [Message(id="a", body=b"{}", destination=topic, partition=PARTITIONS)]
    [refused] = deliver(sink, sent)
    assert isinstance(refused, Permanent)
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    for future in admin.create_partitions([NewPartitions(topic, PARTITIONS + 1)]).values():
        future.result()
    eventually(lambda: isinstance(deliver(sink, sent)[0], Delivered), every=0.2)
    [record] = read(real_kafka, topic, 1, PARTITIONS + 1)
    assert record.partition() == PARTITIONS
