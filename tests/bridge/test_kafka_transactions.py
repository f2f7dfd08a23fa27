"""Kafka in transactions, on Apache Kafka itself: what it committed is known after a crash."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from msgspec.structs import replace

from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import (
    Delivered,
    InDoubt,
    Misconfigured,
    Outcome,
    Permanent,
    Unreachable,
)
from riverbridge.sinks.base import Entry, Message
from riverbridge.sinks.kafka_config import Value
from riverbridge.sinks.kafka_transactions import KafkaTransactions
from riverbridge.sinks.packed import PackedSink
from riverbridge.testing.proxy import Proxy
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, new_name
from tests.support.parts import part
from tests.support.real_kafka import RealKafka
from tests.support.wait import eventually

pytestmark = pytest.mark.real_kafka

MakeSink = Callable[..., KafkaTransactions]
Proxied = tuple[RealKafka, Proxy]
Rows = psycopg.Connection[tuple[Any, ...]]

JOBS = 50

END_OF_TRANSACTION = b"\x00\x1a\x00\x01\x00\x00"
"""The beginning of the request EndTxn, as librdkafka writes it."""

HOLD_BACK = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(42); RETURN new; END $$;
CREATE TRIGGER guard BEFORE UPDATE ON river_job FOR EACH ROW
    WHEN (new.state = 'completed') EXECUTE FUNCTION guard();
SELECT pg_advisory_lock(42)
"""
"""No job is completed while this session has the lock."""

SHUT_OUT = ("a new producer is needed", "in doubt: the sink is asked", "no longer ours")
"""What a process says that comes back to a batch that another has settled, whatever it notices
first: its producer, the deadline or the rows."""

END_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[Proxied]:
    """A broker of its own, with a listener that is reached by way of a proxy."""
    with part("real_kafka"):
        kafka = RealKafka(listeners={"PROXIED": "PLAINTEXT"})
    with Proxy(int(kafka.servers("PROXIED").rpartition(":")[2])) as proxy:
        kafka.advertise("PROXIED", proxy.port)
        with kafka:
            yield kafka, proxy


@pytest.fixture
def topic(real_kafka: RealKafka) -> str:
    name = new_name("exactly")
    real_kafka.create_topic(name, 2)
    return name


@pytest.fixture
def make_sink(real_kafka: RealKafka) -> Iterator[MakeSink]:
    with ExitStack() as stack:

        def make(servers: str = real_kafka.bootstrap_servers, **config: Value) -> KafkaTransactions:
            sink = KafkaTransactions(
                bootstrap_servers=servers,
                config={name.replace("_", "."): value for name, value in config.items()},
            )
            stack.callback(sink.close)
            return sink

        yield make


def in_background(call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def cut_off(proxy: Proxy, cuts: int) -> None:
    """Once it has cut another connection than so many, nothing passes any more."""
    eventually(lambda: proxy.cuts > cuts, every=0.001)
    proxy.set_mode("blackhole")


def settled(answer: Evidence | Unreachable | Misconfigured) -> Evidence | None:
    return answer if isinstance(answer, Evidence) else None


def bridge(
    stack: ExitStack, database: Database, topic: str, queues: str, servers: str
) -> BridgeProcess:
    env = {
        "SOURCE_NAME": "test",
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": servers,
        "SINKS__EVENTS__TOPIC": topic,
        "SINKS__EVENTS__TRANSACTIONS": "true",
        "ROUTES__ALL__QUEUES": queues,
        "ROUTES__ALL__KEY": "{id}",
        "ROUTES__ALL__ORDERED": "false",
    }
    return stack.enter_context(BridgeProcess(database, env))


def insert(connection: Rows, queue: str) -> None:
    connection.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args)"
        " SELECT 'test', %s, 25, '{}' FROM generate_series(1, %s)",
        (queue, JOBS),
    )


def states(connection: Rows) -> dict[tuple[str, int], int]:
    rows = connection.execute("SELECT state::text, attempt, count(*) FROM river_job GROUP BY 1, 2")
    return {(state, attempt): count for state, attempt, count in rows.fetchall()}


def messages(topic: str, many: int, body: bytes = b"x") -> list[Message]:
    return [Message(id=str(n), body=body, destination=topic, key=str(n)) for n in range(many)]


def soon(seconds: float = 15.0) -> float:
    return time.monotonic() + seconds


def committed(kafka: RealKafka, topic: str, partitions: int = 2) -> list[str]:
    """The keys that a reader of committed records finds, up to where the topic ends now."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "committed",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, place, 0) for place in range(partitions)])
        found: list[str] = []
        ends, until = 0, soon()
        while ends < partitions:
            assert time.monotonic() < until, f"{len(found)} records, and no end"
            for one in consumer.consume(1000, timeout=0.2):
                if one.error() is None:
                    found.append((one.key() or b"").decode())
                else:
                    ends += 1
        return sorted(found)
    finally:
        consumer.close()


def test_what_was_committed_is_known_to_whoever_asks(
    real_kafka: RealKafka, topic: str, make_sink: MakeSink
) -> None:
    one, slot = make_sink(), new_name("slot")
    assert one.ask(slot, soon()) == Evidence()
    places = [0, 1, 2, 5, 9]
    sent = messages(topic, 5)
    assert one.deliver_entry(Entry(slot, 7, places), sent, soon()) == [Delivered()] * 5
    assert one.usable(slot)
    other = make_sink()
    assert other.ask(slot, soon()) == Evidence(7, frozenset(places))
    # The first one is shut out: nothing that it sends from now on is seen, and it says so.
    late = one.deliver_entry(Entry(slot, 8, places), sent, soon(5))
    assert {type(outcome) for outcome in late} <= {Unreachable, InDoubt}
    assert not one.usable(slot)
    assert other.deliver_entry(Entry(slot, 9, [0]), sent[:1], soon()) == [Delivered()]
    assert make_sink().ask(slot, soon()) == Evidence(9, frozenset([0]))
    assert committed(real_kafka, topic) == ["0", "0", "1", "2", "3", "4"]


def test_a_refused_message_does_not_keep_the_others(
    real_kafka: RealKafka, topic: str, make_sink: MakeSink
) -> None:
    small = new_name("small")
    limited = NewTopic(small, num_partitions=1, config={"max.message.bytes": "20000"})
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    admin.create_topics([limited])[small].result(10)
    sent = messages(small, 100, b"x" * 1000)
    sent[30] = Message(id="30", body=b"y" * 30_000, destination=small, key="30")
    sent[60] = Message(id="60", body=b"y" * 2_000_000, destination=small, key="60")
    sent[70] = Message(id="70", body=b"y", destination="no topic", key="70")
    sent[80] = Message(id="80", body=b"y", destination=new_name("missing"), key="80")
    sink, slot = make_sink(), new_name("slot")
    sink.ask(slot, soon())
    outcomes = sink.deliver_entry(Entry(slot, 1, range(100)), sent, soon())
    bad = {30: Permanent, 60: Permanent, 70: Permanent, 80: Misconfigured}
    assert {n: type(outcomes[n]) for n in bad} == bad, outcomes
    good = [n for n in range(100) if n not in bad]
    assert [outcomes[n] for n in good] == [Delivered()] * len(good)
    assert committed(real_kafka, small, 1) == sorted(str(n) for n in good)
    assert sink.ask(slot, soon()) == Evidence(1, frozenset(good))


def test_a_transaction_has_receipts_partitions_and_what_is_packed_before_it(
    real_kafka: RealKafka, topic: str
) -> None:
    plain = KafkaTransactions(bootstrap_servers=real_kafka.bootstrap_servers, receipts=True)

    def pack(messages: Sequence[Message], deadline: float) -> list[Message | Outcome]:
        made = [replace(message, body=b"packed") for message in messages]
        return [Permanent("no") if m.id == "1" else m for m in made]

    sink = PackedSink(plain, 10, pack)
    try:
        slot = new_name("slot")
        sink.ask(slot, soon())
        sent = [replace(m, partition=1) for m in messages(topic, 4, b"larger than ten bytes")]
        sent[2], sent[3] = replace(sent[2], body=b"small"), replace(sent[3], partition=7)
        found = sink.deliver_entry(Entry(slot, 1, [10, 11, 12, 13]), sent, soon())
        assert found[:3] == [
            Delivered(f"{topic}[1]@{offset(found[0])}"),
            Permanent("no"),
            Delivered(f"{topic}[1]@{offset(found[2])}"),
        ]
        assert isinstance(found[3], Permanent)
        assert f"topic {topic} has no partition 7" in found[3].error
        assert sink.ask(slot, soon()) == Evidence(1, frozenset([10, 12]))
        assert committed(real_kafka, topic) == ["0", "2"]
    finally:
        sink.close()


def test_partitions_that_are_added_are_told_of(
    real_kafka: RealKafka,
    topic: str,
    make_sink: MakeSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = make_sink(topic_metadata_refresh_interval_ms=200, statistics_interval_ms=100)
    slot, numbers = new_name("slot"), count(1)
    caplog.set_level(logging.DEBUG, "riverbridge.sinks.kafka")
    sink.ask(slot, soon())

    def told(text: str) -> bool:
        entry = Entry(slot, next(numbers), [0])
        assert sink.deliver_entry(entry, messages(topic, 1), soon()) == [Delivered()]
        return f"topic {topic} has {text}" in caplog.text

    eventually(lambda: told("2 partitions"), every=0.1)
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
    eventually(lambda: told("3 partitions now, it had 2"), every=0.1)


def offset(outcome: Outcome) -> int:
    """What the receipt says; an aborted try before it has taken some."""
    assert isinstance(outcome, Delivered)
    return int(str(outcome.receipt).rpartition("@")[2])


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is-lost"])
def test_a_commit_without_an_answer_is_in_doubt_until_the_broker_is_asked(
    behind_proxy: Proxied, make_sink: MakeSink, arrives: bool
) -> None:
    kafka, proxy = behind_proxy
    topic, slot = new_name("exactly"), new_name("slot")
    kafka.create_topic(topic, 2)
    sent, first = messages(topic, 3), make_sink(kafka.bootstrap_servers)
    first.ask(slot, soon())
    assert first.deliver_entry(Entry(slot, 1, [0]), sent[:1], soon()) == [Delivered()]
    sink = make_sink(kafka.servers("PROXIED"), message_timeout_ms=3000)
    assert sink.ask(slot, soon()) == Evidence(1, frozenset([0]))
    proxy.cut_on(END_OF_TRANSACTION, forward=arrives)
    hole = in_background(partial(cut_off, proxy, proxy.cuts))
    outcomes = sink.deliver_entry(Entry(slot, 2, [0, 1]), sent[1:], soon(3))
    hole.join()
    assert {type(outcome) for outcome in outcomes} == {InDoubt}, outcomes
    assert not sink.usable(slot)
    assert isinstance(sink.ask(slot, soon(1)), Unreachable)
    proxy.set_mode("pass")
    answer = eventually(lambda: settled(sink.ask(slot, soon())))
    assert answer is not None
    # A commit that was cut off may still come through, until the question ends it.
    assert answer.number == 2 or (answer.number == 1 and not arrives)
    assert answer.places == frozenset(range(answer.number))
    assert committed(kafka, topic) == (["0", "1", "2"] if answer.number == 2 else ["0"])


def test_three_processes_that_end_in_the_middle_leave_each_job_once(
    database: Database, behind_proxy: Proxied
) -> None:
    """One is killed after its commit, one before it, and one is frozen: a fourth finds out."""
    kafka, proxy = behind_proxy
    topic = new_name("exactly")
    kafka.create_topic(topic, 2)
    direct, proxied = kafka.bootstrap_servers, kafka.servers("PROXIED")
    with ExitStack() as stack:
        run = partial(bridge, stack, database, topic)
        connection = stack.enter_context(database.connect())
        after, before, frozen = run("a", direct), run("b", proxied), run("c", proxied)
        holder = stack.enter_context(database.connect())
        holder.execute(HOLD_BACK)
        insert(connection, "a")
        eventually(lambda: len(committed(kafka, topic)) == JOBS)
        cuts = proxy.cuts
        proxy.cut_on(END_OF_TRANSACTION)
        insert(connection, "b")
        cut_off(proxy, cuts)
        insert(connection, "c")
        eventually(lambda: states(connection) == {("running", 1): 3 * JOBS})
        after.kill()
        before.kill()
        frozen.pause()
        connection.execute(END_WAITING)
        holder.execute("DROP FUNCTION guard() CASCADE; SELECT pg_advisory_unlock_all()")
        began = time.monotonic()
        last = run("a,b,c", direct)
        eventually(lambda: states(connection) == {("completed", 1): 3 * JOBS}, within=25)
        print(f"all settled {time.monotonic() - began:.1f} s after the next start")
        proxy.set_mode("pass")
        frozen.resume()
        insert(connection, "c")
        eventually(lambda: states(connection) == {("completed", 1): 4 * JOBS})
        eventually(lambda: any(words in frozen.log for words in SHUT_OUT), within=20)
        frozen.stop()
        last.stop()
        assert states(connection) == {("completed", 1): 4 * JOBS}
        assert f"{JOBS} of its jobs had arrived, 0 had not" in last.log
        assert f"0 of its jobs had arrived, {JOBS} had not" in last.log
        owners = "SELECT id::text FROM river_job ORDER BY id::text"
        assert committed(kafka, topic) == [i for (i,) in connection.execute(owners).fetchall()]
