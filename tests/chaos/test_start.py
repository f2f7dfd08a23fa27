"""Starts that cannot work end with exit code 78 and the reason; those that can wait do so."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.embedded.process import free_port
from riverbridge.errors import ServerFailed
from tests.chaos.processes import Process, Scene
from tests.chaos.topics import arrived
from tests.support.database import Database
from tests.support.mock_kafka import MockKafka
from tests.support.parts import part
from tests.support.wait import eventually

WRONG_CONFIGURATION = 78


def _kafka(servers: str, topic: str = "events") -> dict[str, str]:
    return {
        "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
        "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": servers,
        "RIVERBRIDGE_SINKS__EVENTS__TOPIC": topic,
    }


def _refused(process: Process, *words: str) -> None:
    assert process.wait(15) == WRONG_CONFIGURATION
    assert process.said(*words), process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def _untouched(scene: Scene) -> bool:
    return scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall() == [(0, 0)]


def test_a_broker_that_is_not_there_yet_is_waited_for(scene: Scene) -> None:
    with part("kafka"):
        broker = Broker(port=free_port())
    ids = scene.insert(100, max_attempts=1)
    settings = _kafka(broker.bootstrap_servers)
    settings["RIVERBRIDGE_SINKS__EVENTS__DELIVERY_TIMEOUT"] = "2"
    process = scene.launch("one", settings).until_serving()
    eventually(lambda: process.said("sink events does not answer"), 20)
    assert set(scene.states()) <= {"available", "running"}
    with broker:
        try:
            broker.create_topic("events")
        except ServerFailed as error:
            # The bridge has asked for the topic all the time; a broker may make what is asked for.
            if "TOPIC_ALREADY_EXISTS" not in str(error):
                raise
        scene.until({"completed": 100}, 15)
        assert arrived(broker.bootstrap_servers, "events", ids) == dict.fromkeys(ids, 1)
    assert scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall() == [(1, 0)]


def test_a_missing_topic_spends_no_attempt(scene: Scene, kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("events")
    kafka_mock.set_topic_error("events", 3)  # UNKNOWN_TOPIC_OR_PART
    ids = scene.insert(100, max_attempts=1)
    process = scene.launch("one", _kafka(kafka_mock.bootstrap_servers)).until_serving()
    eventually(lambda: process.said("sink events is misconfigured", "topic events"), 20)
    eventually(lambda: scene.states() == {"available": 100})
    assert _untouched(scene)
    kafka_mock.set_topic_error("events", 0)
    scene.until({"completed": 100}, 20)
    assert set(arrived(kafka_mock.bootstrap_servers, "events", ids)) == set(ids)


def test_a_wrong_password_is_refused_at_once(scene: Scene, postgres_major: int) -> None:
    with part("postgres"):
        server = Postgres(major=postgres_major or None, fsync=False, password="right-a1b2c3")
    with server:
        dsn = server.dsn().replace("right-a1b2c3", "wrong-d4e5f6")
        process = scene.launch("one", _kafka("127.0.0.1:9"), dsn=dsn)
        _refused(process, "DATABASE_URL", "password authentication failed")
        assert "d4e5f6" not in process.log.read_text()


@pytest.mark.parametrize("part_of_dsn", ["role", "database"])
def test_a_role_or_database_that_does_not_exist_is_refused(scene: Scene, part_of_dsn: str) -> None:
    dsn = scene.database.dsn
    if part_of_dsn == "database":
        dsn = dsn.replace(scene.database.name, "nobody_made_this")
    else:
        scheme, _, rest = dsn.partition("://")
        dsn = f"{scheme}://nobody@{rest.rpartition('@')[2]}"
    _refused(scene.launch("one", _kafka("127.0.0.1:9"), dsn=dsn), "does not exist")


def test_a_template_that_asks_for_what_no_job_has_is_refused(scene: Scene) -> None:
    settings = _kafka("127.0.0.1:9", topic="jobs.{knid}")
    _refused(scene.launch("one", settings), "RIVERBRIDGE_SINKS__EVENTS__TOPIC", "knid")


def test_variables_that_kubernetes_injects_are_ignored_with_one_line(scene: Scene) -> None:
    injected = {
        "RIVERBRIDGE_PORT": "tcp://10.0.0.7:8080",
        "RIVERBRIDGE_SERVICE_HOST": "10.0.0.7",
        "RIVERBRIDGE_SERVICE_PORT": "8080",
        "RIVERBRIDGE_SERVICE_PORT_HTTP": "8080",
        "RIVERBRIDGE_PORT_8080_TCP": "tcp://10.0.0.7:8080",
        "RIVERBRIDGE_PORT_8080_TCP_ADDR": "10.0.0.7",
        "RIVERBRIDGE_PORT_8080_TCP_PORT": "8080",
        "RIVERBRIDGE_PORT_8080_TCP_PROTO": "tcp",
    }
    process = scene.start("one", injected).until_serving()
    ids = scene.insert(10)
    scene.until({"completed": 10})
    assert set(scene.ledger.counts()) == set(ids)
    (line,) = (line for line in process.messages() if "Kubernetes" in line)
    assert all(name in line for name in injected)


def _too_new(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("INSERT INTO river_migration (line, version) VALUES ('main', 999)")


def _too_old(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DELETE FROM river_migration WHERE line = 'main' AND version > 5")


def _ours_missing(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DROP TABLE riverbridge_process, riverbridge_route")
        connection.execute("DELETE FROM river_migration WHERE line = 'riverbridge'")


def _all_missing(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.mark.parametrize("spoil", [_too_new, _too_old, _ours_missing, _all_missing])
def test_tables_that_do_not_fit_are_refused(
    scene: Scene, spoil: Callable[[Database], None]
) -> None:
    spoil(scene.database)
    process = scene.launch("one", _kafka("127.0.0.1:9"))
    _refused(process, "riverbridge migrate" if spoil is not _too_new else "999")


def test_a_database_that_is_not_up_yet_is_waited_for(scene: Scene) -> None:
    dsn = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    process = scene.launch("one", _kafka("127.0.0.1:9"), dsn=dsn)
    eventually(lambda: process.said("cannot connect to Postgres, trying again"), 15)
    assert process.running
    process.send(signal.SIGTERM)
    assert process.wait(10) == 0
