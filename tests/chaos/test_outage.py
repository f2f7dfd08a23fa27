"""The brokers are gone or slow, under load: nothing is discarded, and delivery goes on soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from riverbridge.embedded.broker import Broker
from tests.chaos.processes import Scene
from tests.chaos.topics import arrived
from tests.support.mock_kafka import MockKafka
from tests.support.wait import eventually

RESUME = 5.0
"""Seconds from the brokers' return to the first delivery."""

RATE = 200
"""Jobs a second while it goes on."""


class Load:
    """Inserts jobs at a steady rate until it is stopped; `max_attempts` 1 each."""

    def __init__(self, scene: Scene) -> None:
        self.ids: list[int] = []
        self._scene = scene
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def _run(self) -> None:
        with self._scene.database.connect() as connection:
            while not self._stop.wait(0.1):
                rows = connection.execute(
                    "INSERT INTO river_job (kind, queue, max_attempts, args)"
                    " SELECT 'test', 'outbox', 1, '{}' FROM generate_series(1, %s) RETURNING id",
                    (RATE // 10,),
                )
                self.ids += [id_ for (id_,) in rows]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


@contextmanager
def _load(scene: Scene) -> Iterator[Load]:
    load = Load(scene)
    try:
        yield load
    finally:
        load.stop()


def kafka(servers: str) -> dict[str, str]:
    """Settings of a sink for the topic `events`."""
    return {
        "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
        "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": servers,
        "RIVERBRIDGE_SINKS__EVENTS__TOPIC": "events",
        "RIVERBRIDGE_SINKS__EVENTS__ENVELOPE": "raw",
    }


def _outage(
    scene: Scene, servers: str, down: Callable[[], None], up: Callable[[], None], seconds: float
) -> None:
    process = scene.launch("one", kafka(servers)).until_serving()

    def completed() -> int:
        return scene.states().get("completed", 0)

    with _load(scene) as load:
        eventually(lambda: completed() > RATE)
        down()
        try:
            until = time.monotonic() + seconds
            eventually(lambda: time.monotonic() > until, seconds + 1, every=0.2)
            before = completed()
            eventually(lambda: scene.states().get("available", 0) > RATE)
        finally:
            up()
        back = time.monotonic()
        eventually(lambda: completed() > before, RESUME)
        resumed = time.monotonic() - back
        eventually(lambda: process.said("answers again"))
    scene.until({"completed": len(load.ids)}, 30)
    print(f"{seconds:.0f} s without a broker, {len(load.ids)} jobs, resumed after {resumed:.2f} s")
    attempts = scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall()
    assert attempts == [(1, 0)]
    assert process.said("sink events does not answer", "no attempts are spent")
    assert set(arrived(servers, "events", load.ids)) == set(load.ids)


def test_an_outage_of_the_brokers_discards_nothing(scene: Scene, kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("events")
    servers = kafka_mock.bootstrap_servers
    _outage(scene, servers, kafka_mock.set_broker_down, kafka_mock.set_broker_up, 15)


def test_a_frozen_broker_discards_nothing(scene: Scene, own_kafka: Broker) -> None:
    own_kafka.create_topic("events")
    _outage(scene, own_kafka.bootstrap_servers, own_kafka.pause, own_kafka.resume, 15)


def test_a_slow_broker_gets_each_job_once(scene: Scene, kafka_mock: MockKafka) -> None:
    """It answers later than a lane may hold its transaction: the jobs are leased meanwhile."""
    kafka_mock.create_topic("events")
    settings = kafka(kafka_mock.bootstrap_servers)
    scene.launch("one", settings).until_serving()
    scene.until({"completed": len(first := scene.insert(1, max_attempts=1))})
    kafka_mock.set_rtt(1500)
    ids = first + scene.insert(500, max_attempts=1)
    eventually(lambda: scene.states().get("running", 0) > 0)
    scene.until({"completed": 501}, 30)
    attempts = scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall()
    assert attempts == [(1, 0)]
    kafka_mock.set_rtt(0)
    assert arrived(kafka_mock.bootstrap_servers, "events", ids) == dict.fromkeys(ids, 1)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_minute_without_brokers_discards_nothing(scene: Scene, kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("events")
    servers = kafka_mock.bootstrap_servers
    _outage(scene, servers, kafka_mock.set_broker_down, kafka_mock.set_broker_up, 60)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_broker_frozen_for_a_minute_discards_nothing(scene: Scene, own_kafka: Broker) -> None:
    own_kafka.create_topic("events")
    _outage(scene, own_kafka.bootstrap_servers, own_kafka.pause, own_kafka.resume, 60)
