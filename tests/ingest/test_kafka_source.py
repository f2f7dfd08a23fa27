"""The Kafka source on a Kafka-protocol broker and Postgres."""

from __future__ import annotations

import time
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from riverbridge.bridge.deposit import Deposited, Depositor
from riverbridge.bridge.intake import Intake
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.base import Bounds, Event
from riverbridge.testing.proxy import Proxy
from tests.ingest.ground import PARTITIONS, Ground, bodies
from tests.ingest.rows import args_of, numbers, positions
from tests.support.database import Database, new_name
from tests.support.wait import eventually


@pytest.fixture
def ground(kafka: object, database: Database) -> Ground:
    topic = new_name("ingest")
    kafka.create_topic(topic, PARTITIONS)  # type: ignore[attr-defined]
    return Ground(kafka.bootstrap_servers, topic, database)  # type: ignore[attr-defined]


def test_each_record_becomes_one_job_in_the_order_of_its_partition(ground: Ground) -> None:
    ground.produce(bodies(300))
    with ground.receiving():
        eventually(lambda: len(args_of(ground.database)) == 300, within=20)
    with ground.receiving():
        ground.produce(bodies(3, first=300))
        eventually(lambda: numbers(ground.database) == dict.fromkeys(range(303), 1), within=20)
    seen = [args["n"] for args in args_of(ground.database)]
    for place in range(PARTITIONS):
        of_partition = [n for n in seen if n % PARTITIONS == place]
        assert of_partition == sorted(of_partition)
    assert positions(ground.database) == {
        f"{ground.topic}/{place}": "101" for place in range(PARTITIONS)
    }


def test_partitions_whose_events_were_safe_go_on_after_a_rest(ground: Ground) -> None:
    """Those of one are released, all rest, and only that one is placed again."""
    source = ground.source()
    try:
        found: list[Event] = []

        def take() -> int:
            if unplaced := source.unplaced():
                source.place(source.starts(unplaced, ()))
            found.extend(source.receive(Bounds(seconds=0.1)))
            return len(found)

        ground.produce(bodies(PARTITIONS))
        eventually(lambda: take() == PARTITIONS, within=20)
        again = [event for event in found if event.position and "/0" in event.position.partition]
        source.release(again)
        source.idle(0.1)
        ground.produce(bodies(PARTITIONS, first=PARTITIONS))
        # Those of the released one come again, those of the others once.
        eventually(lambda: take() == 2 * PARTITIONS + 1, within=20)
    finally:
        source.close()


class Counted(Depositor):
    """Says how many events it met that were jobs already."""

    duplicates = 0

    def write(self, *given: Any) -> Deposited:
        done = super().write(*given)
        Counted.duplicates += done.duplicates
        return done


def test_of_two_owners_of_a_partition_one_moves_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups: each member believes that all partitions are its own, as a zombie does.

    The positions alone have to keep them apart: no event may so much as meet its job's unique key.
    """
    monkeypatch.setattr("riverbridge.bridge.intake.Depositor", Counted)
    monkeypatch.setattr(Counted, "duplicates", 0)
    intake = Intake(Mapper("events", Plan(kind="event")), Bounds(count=7))
    ground.produce(bodies(900))
    with ground.receiving(intake):
        ground.group = new_name("group")
        with ground.receiving(intake):
            eventually(lambda: len(args_of(ground.database)) == 900, within=30)
            ground.produce(bodies(100, first=900))
            eventually(lambda: len(args_of(ground.database)) == 1000, within=30)
    assert numbers(ground.database) == dict.fromkeys(range(1000), 1)
    assert Counted.duplicates == 0
    assert set(positions(ground.database).values()) == {"333", "334"}


def test_a_position_that_an_operator_moves_is_read_from(ground: Ground) -> None:
    """Back: what the inbox does not know becomes jobs again, once their rows are gone."""
    ground.produce(bodies(30))
    with ground.receiving():
        eventually(lambda: len(args_of(ground.database)) == 30, within=20)
        with ground.database.connect() as connection:
            connection.execute("DELETE FROM river_job")
            connection.execute("UPDATE riverbridge_position SET position = '5'")
        ground.produce(bodies(PARTITIONS, first=30))
        expected = dict.fromkeys(range(15, 33), 1)
        eventually(lambda: numbers(ground.database) == expected, within=20)


def test_a_full_queue_pauses_the_source(ground: Ground) -> None:
    intake = Intake(Mapper("events", Plan(kind="event")), Bounds(count=10), pause_above=20)
    with ground.receiving(intake) as receiver:
        ground.produce(bodies(30))
        eventually(lambda: len(args_of(ground.database)) == 30, within=20)
        ground.produce(bodies(20_000, first=30))
        eventually(lambda: receiver._full, within=10)
        there = len(args_of(ground.database))
        assert there < 20_030
        assert receiver.problem() is None
        with ground.database.connect() as connection:
            connection.execute("UPDATE river_job SET state = 'completed', finalized_at = now()")
        eventually(lambda: len(args_of(ground.database)) > there, within=10)


def test_tombstones_are_passed_over_and_everything_of_a_record_is_there(ground: Ground) -> None:
    plan = Plan(kind="event", metadata={"key": "{key}", "topic": "{topic}", "at": "{time}"})
    ground.produce([None, b'{"n": 1}', None], partition=0)
    with ground.receiving(Intake(Mapper("events", plan))):
        eventually(lambda: positions(ground.database).get(f"{ground.topic}/0") == "3", within=20)
    with ground.database.connect() as connection:
        [(metadata,)] = connection.execute("SELECT metadata FROM river_job").fetchall()
    assert metadata["key"] == "k1"
    assert metadata["topic"] == ground.topic
    assert metadata["at"].startswith("20")


def test_without_postgres_it_waits_and_stays_a_member(ground: Ground) -> None:
    """For longer than the group's session, so that it would have lost its partitions by then."""
    place = conninfo_to_dict(ground.database.dsn)
    with Proxy(int(place["port"] or 0)) as proxy:
        dsn = make_conninfo(ground.database.dsn, port=proxy.port)
        with ground.receiving(dsn=dsn) as receiver:
            ground.produce(bodies(30))
            eventually(lambda: len(args_of(ground.database)) == 30, within=20)
            proxy.set_mode("refuse")
            ground.produce(bodies(30, first=30))
            eventually(lambda: "Postgres" in (receiver.problem() or ""), within=10)
            time.sleep(1.5)
            assert len(args_of(ground.database)) == 30
            proxy.set_mode("pass")
            eventually(lambda: len(args_of(ground.database)) == 60, within=20)
            eventually(lambda: receiver.problem() is None, within=10)
    assert numbers(ground.database) == dict.fromkeys(range(60), 1)
