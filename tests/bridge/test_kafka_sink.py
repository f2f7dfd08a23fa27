from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as Record
from confluent_kafka.admin import AdminClient

from riverbridge.embedded.broker import Broker
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
)
from riverbridge.sinks.base import Message
from riverbridge.sinks.kafka import KafkaSink
from tests.support.mock_kafka import INIT_PRODUCER_ID, PRODUCE, MockKafka
from tests.support.running import at_once

TOPIC = "jobs"
TIMEOUT = 3.0


@pytest.fixture
def mock(kafka_mock: MockKafka) -> MockKafka:
    kafka_mock.create_topic(TOPIC, 4)
    return kafka_mock


@pytest.fixture
def sink(mock: MockKafka) -> Iterator[KafkaSink]:
    made = KafkaSink(bootstrap_servers=mock.bootstrap_servers, delivery_timeout=TIMEOUT)
    yield made
    made.close()


def messages(count: int, topic: str = TOPIC, first: int = 0) -> list[Message]:
    return [
        Message(
            id=f"db:{i}",
            body=f'{{"n": {i}}}'.encode(),
            destination=topic,
            key=f"customer-{i % 50}",
            headers=(("ce_id", f"db:{i}"), ("ce_type", "ördér")),
        )
        for i in range(first, first + count)
    ]


def deliver(sink: KafkaSink, sent: list[Message], within: float = 10.0) -> list[Outcome]:
    outcomes = sink.deliver(sent, time.monotonic() + within)
    assert len(outcomes) == len(sent)
    return outcomes


def kinds(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(type(o).__name__ for o in outcomes)


def read(
    bootstrap: str, topic: str, count: int, partitions: int = 4, *, watermarks: bool = True
) -> list[Record]:
    """Every record of the topic, of which there must be exactly `count`.

    watermarks: False for Tansu, whose high watermark counts batches of an idempotent producer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        parts = [TopicPartition(topic, p, 0) for p in range(partitions)]
        if watermarks:
            total = sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in parts)
            assert total == count
        consumer.assign(parts)
        found: list[Record] = []
        end = time.monotonic() + 15
        while len(found) < count and time.monotonic() < end:
            found += [r for r in consumer.consume(1000, timeout=0.5) if r.error() is None]
        assert len(found) == count
        return found
    finally:
        consumer.close()


def eventually_delivers(sink: KafkaSink, make: Callable[[], list[Message]], within: float) -> float:
    """Seconds until a whole batch was delivered; fails after `within`."""
    start = time.monotonic()
    while True:
        outcomes = deliver(sink, make(), within=5)
        took = time.monotonic() - start
        if kinds(outcomes).keys() == {"Delivered"}:
            assert took < within
            return took
        assert took < within, outcomes[0]


def murmur2(data: bytes) -> int:
    """Java's `Utils.murmur2`, from the algorithm's description, as a signed 32-bit number."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h


def java_partition(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


def test_a_thousand_messages_arrive_whole_and_where_java_puts_them(
    mock: MockKafka, sink: KafkaSink
) -> None:
    sent = messages(1000)
    assert deliver(sink, sent) == [Delivered()] * 1000
    by_body = {m.body: m for m in sent}
    found = read(mock.bootstrap_servers, TOPIC, 1000)
    for record in found:
        message = by_body.pop(record.value())
        assert message.key is not None
        assert record.key() == message.key.encode()
        assert record.headers() == [(n, v.encode()) for n, v in message.headers]
        assert record.partition() == java_partition(message.key.encode(), 4)
    assert not by_body
    assert len({r.partition() for r in found}) == 4


def test_an_empty_key_is_a_key_and_no_key_is_none(mock: MockKafka, sink: KafkaSink) -> None:
    empty = [Message(id=str(i), body=b"e", destination=TOPIC, key="") for i in range(20)]
    none = [Message(id=str(i), body=b"n", destination=TOPIC) for i in range(20)]
    assert deliver(sink, empty + none) == [Delivered()] * 40
    found = read(mock.bootstrap_servers, TOPIC, 40)
    assert {r.partition() for r in found if r.value() == b"e"} == {java_partition(b"", 4)}
    assert {r.key() for r in found if r.value() == b"e"} == {b""}
    assert {r.key() for r in found if r.value() == b"n"} == {None}


def test_a_message_goes_to_its_own_partition_or_nowhere(mock: MockKafka, sink: KafkaSink) -> None:
    sent = [
        Message(id=str(n), body=b"{}", destination=TOPIC, key="customer-0", partition=n)
        for n in (0, 3, 4, 999_999_999)
    ]
    missing = "topic jobs has no partition {}; check the sink's PARTITION"
    # The first call may ask before the topic's partitions are known, the second knows them.
    for _ in range(2):
        *good, past, far = deliver(sink, sent)
        assert kinds(good) == {"Delivered": 2}
        assert isinstance(past, Permanent)
        assert past.error.startswith(missing.format(4))
        assert isinstance(far, Permanent)
        assert far.error.startswith(missing.format(999_999_999))
    found = read(mock.bootstrap_servers, TOPIC, 4)
    assert Counter(record.partition() for record in found) == {0: 2, 3: 2}


def test_tombstones_empty_bodies_and_timestamps(mock: MockKafka, sink: KafkaSink) -> None:
    at = datetime(2020, 2, 3, 4, 5, 6, 789_999, tzinfo=UTC)
    sent = [
        Message(id="1", body=None, destination=TOPIC, key="gone", timestamp=at),
        Message(id="2", body=b"", destination=TOPIC, key="empty"),
    ]
    assert kinds(deliver(sink, sent)) == {"Delivered": 2}
    found = {r.key(): r for r in read(mock.bootstrap_servers, TOPIC, 2)}
    assert found[b"gone"].value() is None
    assert found[b"gone"].timestamp()[1] == 1_580_702_706_789
    assert found[b"empty"].value() == b""


def test_receipts_say_where_it_went(mock: MockKafka) -> None:
    sink = KafkaSink(bootstrap_servers=mock.bootstrap_servers, receipts=True)
    try:
        partition = java_partition(b"customer-0", 4)
        for offset in range(2):
            assert deliver(sink, messages(1)) == [Delivered(f"jobs[{partition}]@{offset}")]
    finally:
        sink.close()


def test_retriable_errors_are_repeated_without_duplicates(mock: MockKafka, sink: KafkaSink) -> None:
    mock.push_errors(PRODUCE, 7, 19, 6, 20, -195)
    assert kinds(deliver(sink, messages(200))) == {"Delivered": 200}
    assert_in_order(read(mock.bootstrap_servers, TOPIC, 200), 200)


def test_leaders_that_move_cost_nothing(mock: MockKafka, sink: KafkaSink) -> None:
    for n in range(6):
        for partition in range(4):
            mock.set_leader(TOPIC, partition, 1 + (partition + n) % 3)
        assert kinds(deliver(sink, messages(100, first=100 * n))) == {"Delivered": 100}
    assert_in_order(read(mock.bootstrap_servers, TOPIC, 600), 600)


def assert_in_order(records: list[Record], count: int) -> None:
    """Each of `messages(count)` came once, those of a key in their order."""
    by_key: dict[str | bytes | None, list[int]] = {}
    for record in records:
        by_key.setdefault(record.key(), []).append(json.loads(record.value() or b"")["n"])
    assert sorted(n for found in by_key.values() for n in found) == list(range(count))
    assert all(found == sorted(found) for found in by_key.values())


def test_several_threads_get_their_own_answers(mock: MockKafka, sink: KafkaSink) -> None:
    given: dict[int, list[Outcome]] = {}

    def send(n: int) -> None:
        batch = messages(99, first=n * 100)
        batch.insert(n, Message(id="bad", body=b"", destination="no topic"))
        given[n] = deliver(sink, batch)

    at_once(*(partial(send, n) for n in range(8)))
    for n in range(8):
        assert isinstance(given[n][n], Permanent)
        assert kinds(given[n]) == {"Delivered": 99, "Permanent": 1}
    read(mock.bootstrap_servers, TOPIC, 8 * 99)


@pytest.mark.parametrize(("code", "says"), [(10, "too large"), (87, "record")])
def test_what_the_broker_refuses_is_permanent_for_that_one_only(
    mock: MockKafka, code: int, says: str
) -> None:
    """Brokers refuse whole batches: the first code is for the batch, the next for one message."""
    sink = KafkaSink(bootstrap_servers=mock.bootstrap_servers, config={"linger.ms": 200})
    try:
        sent = [Message(id=str(i), body=b"x", destination=TOPIC, key="one") for i in range(50)]
        assert kinds(deliver(sink, sent[:1])) == {"Delivered": 1}
        mock.push_errors(PRODUCE, code, code)
        refused = [o for o in deliver(sink, sent) if not isinstance(o, Delivered)]
        assert [type(o) for o in refused] == [Permanent]
        assert says in str(refused[0])
        assert TOPIC in str(refused[0])
        read(mock.bootstrap_servers, TOPIC, 50)
    finally:
        sink.close()


def test_what_kafka_cannot_carry_is_permanent_and_the_rest_goes(
    mock: MockKafka, sink: KafkaSink
) -> None:
    bad = [
        Message(id="1", body=b"x" * 1_000_000, destination=TOPIC),
        Message(id="2", body=b"x", destination=TOPIC, key="k" * 1_000_000),
        Message(id="3", body=b"x", destination=""),
        Message(id="4", body=b"x", destination="../etc"),
        Message(id="5", body=b"x", destination=TOPIC, headers=(("a", "\udc00"),)),
        Message(id="6", body=b"x", destination=TOPIC, key="\udc00"),
    ]
    good = messages(6)
    outcomes = deliver(sink, [m for pair in zip(bad, good, strict=True) for m in pair])
    assert outcomes[1::2] == [Delivered()] * 6
    errors = [o.error for o in outcomes[::2] if isinstance(o, Permanent)]
    assert len(errors) == 6
    assert "1000000 bytes" in errors[0]
    assert "message.max.bytes" in errors[0]
    assert all(len(e.encode()) <= 1024 for e in errors)
    read(mock.bootstrap_servers, TOPIC, 6)


def test_a_body_near_the_limit_goes_and_the_limit_is_configurable(mock: MockKafka) -> None:
    sink = KafkaSink(bootstrap_servers=mock.bootstrap_servers, config={"message.max.bytes": 5000})
    try:
        fits = Message(id="1", body=b"x" * 4900, destination=TOPIC, key="k")
        not_quite = Message(id="2", body=b"x" * 5000, destination=TOPIC, key="k")
        given = deliver(sink, [fits, not_quite])
        assert kinds(given) == {"Delivered": 1, "Permanent": 1}
        assert "5000" in str(given[1])
    finally:
        sink.close()


@pytest.mark.parametrize("code", [29, 3])
def test_no_right_or_no_topic_is_misconfigured_until_it_is_mended(
    mock: MockKafka, sink: KafkaSink, code: int
) -> None:
    mock.create_topic("other", 2)
    mock.set_topic_error("other", code)
    both = [*messages(3, "other"), *messages(3)]
    for _ in range(2):  # the second time, the client refuses it without asking the broker
        outcomes = deliver(sink, both)
        assert kinds(outcomes[:3]) == {"Misconfigured": 3}
        assert "other" in str(outcomes[0])
        assert outcomes[3:] == [Delivered()] * 3
    mock.set_topic_error("other", 0)
    eventually_delivers(sink, lambda: messages(3, "other"), within=5)


def test_an_outage_is_unreachable_and_delivery_goes_on_after_it(
    mock: MockKafka, sink: KafkaSink
) -> None:
    assert kinds(deliver(sink, messages(100))) == {"Delivered": 100}
    mock.set_broker_down()
    start = time.monotonic()
    # The brokers answered just now: what waits is judged when it is given up, not before.
    assert kinds(deliver(sink, messages(100))) == {"Unreachable": 100}
    assert time.monotonic() - start < TIMEOUT + 2
    outcomes = deliver(sink, messages(10), within=0.5)
    assert kinds(outcomes) == {"Unreachable": 10}
    assert "refused" in str(outcomes[0])
    mock.set_broker_up()
    eventually_delivers(sink, lambda: messages(100), within=5)


def test_one_dead_partition_spends_attempts_while_others_answer(
    mock: MockKafka, sink: KafkaSink
) -> None:
    for partition in range(4):
        mock.set_leader(TOPIC, partition, 1)
    dead = java_partition(b"customer-0", 4)
    mock.set_leader(TOPIC, dead, 2)
    mock.set_broker_down(2)
    stop = threading.Event()
    alive = [m for m in messages(50) if java_partition(str(m.key).encode(), 4) != dead]
    lost: list[Outcome] = []

    def others() -> None:
        while not stop.is_set():
            lost.extend(o for o in deliver(sink, alive) if not isinstance(o, Delivered))
            stop.wait(0.1)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        outcomes = deliver(sink, messages(1))
    finally:
        stop.set()
        thread.join(10)
    assert isinstance(outcomes[0], Retry)
    assert outcomes[0].ambiguous
    assert not lost


def test_what_a_fenced_producer_left_is_sent_by_another(mock: MockKafka) -> None:
    mock.push_errors(INIT_PRODUCER_ID, 90)
    sink = KafkaSink(bootstrap_servers=mock.bootstrap_servers, delivery_timeout=TIMEOUT)
    try:
        assert kinds(deliver(sink, messages(10))) == {"Delivered": 10}
    finally:
        sink.close()


def test_a_lost_sequence_is_ambiguous_and_delivery_goes_on(
    mock: MockKafka, sink: KafkaSink
) -> None:
    assert kinds(deliver(sink, messages(1))) == {"Delivered": 1}
    mock.push_errors(PRODUCE, *[45] * 8)
    outcomes = deliver(sink, [Message(id="1", body=b"x", destination=TOPIC, key="k")])
    mock.clear_errors(PRODUCE)
    assert isinstance(outcomes[0], Retry)
    assert outcomes[0].ambiguous
    eventually_delivers(sink, lambda: messages(10), within=5)


def test_no_right_to_write_idempotently_is_misconfigured(mock: MockKafka) -> None:
    mock.push_errors(INIT_PRODUCER_ID, *[31] * 3)
    sink = KafkaSink(bootstrap_servers=mock.bootstrap_servers, delivery_timeout=TIMEOUT)
    try:
        outcomes = deliver(sink, messages(5))
        assert {type(o) for o in outcomes} == {Misconfigured}
        assert "authorization" in str(outcomes[0]).lower()
    finally:
        sink.close()


def test_nobody_there_at_the_start() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sink = KafkaSink(
            bootstrap_servers=f"127.0.0.1:{free.getsockname()[1]}", delivery_timeout=1.0
        )
        try:
            assert kinds(deliver(sink, messages(5), within=3)) == {"Unreachable": 5}
        finally:
            sink.close()


def test_a_broker_that_does_not_speak_tls_or_refuses_the_login_is_named(mock: MockKafka) -> None:
    sink = KafkaSink(
        bootstrap_servers=mock.bootstrap_servers,
        delivery_timeout=1.0,
        config={
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "u",
            "sasl.password": "hunter22",
        },
    )
    try:
        outcomes = deliver(sink, messages(5), within=3)
        assert {type(o) for o in outcomes} == {Misconfigured}
        assert "SASL" in str(outcomes[0])
        assert "hunter22" not in str(outcomes)
    finally:
        sink.close()


def test_the_deadline_holds_and_late_answers_are_ignored(mock: MockKafka, sink: KafkaSink) -> None:
    assert kinds(deliver(sink, messages(1))) == {"Delivered": 1}
    mock.set_rtt(900)
    start = time.monotonic()
    outcomes = deliver(sink, messages(20), within=0.4)
    assert 0.35 < time.monotonic() - start < 0.6
    assert kinds(outcomes) == {"Retry": 20}
    assert all(o.ambiguous for o in outcomes if isinstance(o, Retry))
    kept = list(outcomes)
    # The late answers come before those of the next call, on the same connections.
    assert kinds(deliver(sink, messages(20), within=10)) == {"Delivered": 20}
    assert outcomes == kept
    assert kinds(deliver(sink, messages(5), within=-1)) == {"Unreachable": 5}


def test_a_full_queue_is_waited_for_until_the_deadline(mock: MockKafka) -> None:
    sink = KafkaSink(
        bootstrap_servers=mock.bootstrap_servers,
        delivery_timeout=TIMEOUT,
        config={"queue.buffering.max.messages": 100},
    )
    try:
        assert kinds(deliver(sink, messages(2000))) == {"Delivered": 2000}
        mock.set_broker_down()
        start = time.monotonic()
        assert "Delivered" not in kinds(deliver(sink, messages(300), within=1.0))
        assert time.monotonic() - start < 2.0  # the queue stays full for the whole time-out
    finally:
        sink.close()


def test_close_while_messages_wait(mock: MockKafka, sink: KafkaSink) -> None:
    mock.set_broker_down()
    given: list[Outcome] = []
    waiting = threading.Thread(target=lambda: given.extend(deliver(sink, messages(50))))
    waiting.start()
    clients = list(sink._clients.values())
    end = time.monotonic() + 5
    while sum(len(c.producer) for c in clients) < 50 and time.monotonic() < end:
        waiting.join(0.01)
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 2.2
    assert not any(c.alive for c in clients)
    waiting.join(2)
    assert kinds(given) == {"Unreachable": 50}
    assert kinds(deliver(sink, messages(1))) == {"Unreachable": 1}


def test_a_round_trip_through_tansu(own_kafka: Broker) -> None:
    sink = KafkaSink(bootstrap_servers=own_kafka.bootstrap_servers)
    try:
        sent = messages(100)
        assert kinds(deliver(sink, sent)) == {"Delivered": 100}
        topics = (
            AdminClient({"bootstrap.servers": own_kafka.bootstrap_servers})
            .list_topics(TOPIC, timeout=5)
            .topics
        )
        partitions = len(topics[TOPIC].partitions)
        found = read(own_kafka.bootstrap_servers, TOPIC, 100, partitions, watermarks=False)
        given = {(r.key(), r.value(), str(r.headers())) for r in found}
        assert given == {
            (str(m.key).encode(), m.body, str([(n, v.encode()) for n, v in m.headers]))
            for m in sent
        }
    finally:
        sink.close()
