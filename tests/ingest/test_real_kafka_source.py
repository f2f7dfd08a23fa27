"""The Kafka source on Apache Kafka: where partitions go to and fro, and records are gone."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from riverbridge.embedded.broker import create_topic
from riverbridge.errors import ServerFailed
from tests.ingest.ground import PARTITIONS, Ground, bodies
from tests.ingest.rows import args_of, numbers, positions
from tests.support.database import Database, new_name
from tests.support.real_kafka import RealKafka
from tests.support.wait import eventually


@pytest.fixture
def ground(real_kafka: RealKafka, database: Database) -> Ground:
    topic = new_name("ingest")
    real_kafka.create_topic(topic, PARTITIONS)
    return Ground(real_kafka.bootstrap_servers, topic, database, session_ms=6000)


def admin(ground: Ground) -> AdminClient:
    return AdminClient({"bootstrap.servers": ground.servers, "log_level": 0})


def cut(ground: Ground, offset: int) -> None:
    """Let Kafka delete what lies before `offset` in each partition, as its retention does."""
    ends = [TopicPartition(ground.topic, place, offset) for place in range(PARTITIONS)]
    client = admin(ground)
    for future in client.delete_records(ends).values():
        future.result(10)


def test_three_members_come_and_go_and_each_record_is_one_job(ground: Ground) -> None:
    sent = 0

    def more() -> None:
        nonlocal sent
        ground.produce(bodies(300, first=sent))
        sent += 300

    def settled() -> bool:
        return len(args_of(ground.database)) == sent

    with ground.receiving():
        more()
        with ExitStack() as others:
            for _ in range(2):
                others.enter_context(ground.receiving())
                more()
            eventually(settled, within=30)
            more()
        more()
        eventually(settled, within=30)
    assert numbers(ground.database) == dict.fromkeys(range(sent), 1)
    assert set(positions(ground.database).values()) == {str(sent // PARTITIONS)}


def test_latest_begins_behind_what_is_there_and_keeps_to_it(ground: Ground) -> None:
    ground.produce(bodies(9))
    with ground.receiving(start="latest"):
        eventually(lambda: len(positions(ground.database)) == PARTITIONS, within=20)
    ground.produce(bodies(3, first=9))  # while nobody reads
    with ground.receiving(start="latest"):
        eventually(lambda: numbers(ground.database) == dict.fromkeys(range(9, 12), 1), within=20)


def test_to_the_second_member_a_topic_is_not_new(ground: Ground) -> None:
    ground.produce(bodies(9))
    source = ground.source(start="latest")
    try:
        first, *others = (f"{ground.topic}/{place}" for place in range(PARTITIONS))
        # The first says where all begin: the second would read its own from the beginning.
        assert source.starts([first], ()) == dict.fromkeys([first, *others], "3")
        assert source.starts([first], ["another/0"]) == dict.fromkeys([first, *others], "3")
        assert source.starts([first], others) == {first: "0"}
    finally:
        source.close()


def test_a_gap_stops_its_partition_until_somebody_decides(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ground.produce(bodies(9))
    with ground.receiving():
        eventually(lambda: len(args_of(ground.database)) == 9, within=20)
    ground.produce(bodies(9, first=9))
    cut(ground, 5)
    caplog.set_level(logging.ERROR)
    with ground.receiving() as receiver:
        eventually(lambda: "2 offsets are gone" in (receiver.problem() or ""), within=20)
        eventually(lambda: caplog.text.count("ON_GAP") == PARTITIONS, within=20)
    assert len(args_of(ground.database)) == 9
    with ground.receiving(on_gap="earliest") as receiver:
        eventually(lambda: len(args_of(ground.database)) == 12, within=20)
        assert receiver.problem() is None
    assert "goes on at 5 (on_gap=earliest)" in caplog.text


def test_a_topic_made_anew_stops_the_source(ground: Ground) -> None:
    ground.produce(bodies(9))
    with ground.receiving():
        eventually(lambda: len(args_of(ground.database)) == 9, within=20)
    client = admin(ground)
    client.delete_topics([ground.topic])[ground.topic].result(10)

    def anew() -> bool:
        try:
            create_topic(ground.servers, ground.topic, PARTITIONS)
        except ServerFailed:
            return False
        return True

    eventually(anew, within=20, every=0.2)
    ground.produce(bodies(3, first=100))
    with ground.receiving() as receiver:
        eventually(lambda: "made anew" in (receiver.problem() or ""), within=20)
    assert len(args_of(ground.database)) == 9


def test_a_topic_that_is_not_there_is_named(ground: Ground) -> None:
    ground.topic = new_name("missing")
    with ground.receiving() as receiver:
        eventually(lambda: "UNKNOWN_TOPIC" in (receiver.problem() or ""), within=20)
