"""Each server starts, answers its own protocol, and leaves no process and no directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres, find_postgres, postgres_major
from riverbridge.embedded.process import port_answers
from riverbridge.embedded.sqs import SqsServer
from riverbridge.errors import PartMissing, ServerFailed
from tests.servers.test_process import is_gone
from tests.support.database import Database, new_name
from tests.support.real_kafka import RealKafka


def rows(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def send(servers: str, topic: str, value: bytes, **config: object) -> list[object]:
    """What became of one message: [None] or [the error]."""
    answers: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "log_level": 0, **config})
    producer.produce(topic, value, on_delivery=lambda error, _: answers.append(error))
    producer.flush(20)
    return answers


def first_value(servers: str, topic: str) -> bytes | str | None:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": new_name("group"),
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": 6000,
        }
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_postgres_serves_logical_replication(own_postgres: Postgres) -> None:
    dsn = own_postgres.dsn()
    assert rows(dsn, "SHOW wal_level") == [("logical",)]
    assert rows(dsn, "SELECT current_setting('server_version_num')::int / 10000") == [
        (own_postgres.major,)
    ]
    made = "SELECT slot_name FROM pg_create_logical_replication_slot('s', 'pgoutput')"
    assert rows(dsn, made) == [("s",)]


def test_postgres_keeps_what_was_committed_over_a_crash(own_postgres: Postgres) -> None:
    dsn = own_postgres.create_database('odd "name"')
    rows(dsn, "CREATE TABLE kept AS SELECT 1 AS n")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        rows(dsn, "SELECT 1")
    own_postgres.start()
    assert rows(dsn, "SELECT n FROM kept") == [(1,)]
    own_postgres.restart()
    assert rows(dsn, "SELECT n FROM kept") == [(1,)]


def test_postgres_leaves_nothing(own_postgres: Postgres) -> None:
    pid, directory = own_postgres.pid, own_postgres.log.parent
    assert directory.is_dir()
    own_postgres.stop()
    assert is_gone(pid)
    assert not directory.exists()
    assert not port_answers(own_postgres.port)


@pytest.mark.postgres
def test_postgres_asks_for_its_password_and_keeps_a_given_directory(tmp_path: Path) -> None:
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == tmp_path.stat().st_uid and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o011)
    home = tmp_path / "demo"
    with Postgres(directory=home, password=True, fsync=False) as first:
        dsn = first.create_database("kept")
        assert first.password
        assert first.password in dsn
        with pytest.raises(psycopg.OperationalError):
            rows(dsn.replace(first.password, "guess"), "SELECT 1")
    assert ((home / "password").stat().st_mode & 0o777) == 0o600
    with Postgres(directory=home, password=True, fsync=False) as second:
        assert rows(second.dsn("kept"), "SELECT 1") == [(1,)]


@pytest.mark.postgres
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_binaries_below_a_private_directory_serve_all_the_same(tmp_path: Path) -> None:
    found = find_postgres().resolve()
    package = found.parent.parent
    private = tmp_path / "private"
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, private / part.name, symlinks=True)
    private.chmod(0o700)
    hidden = private / found.relative_to(package.parent)
    with Postgres(bin_dir=hidden, fsync=False) as server:
        assert rows(server.dsn(), "SELECT 1") == [(1,)]
        assert not server.bin_dir.is_relative_to(private)


@pytest.mark.postgres
def test_postgres_on_a_taken_port_is_an_error_with_the_log() -> None:
    with Postgres(fsync=False) as first:
        second = Postgres(fsync=False, port=first.port)
        with pytest.raises(ServerFailed, match="Address already in use"):
            second.start()
        assert second.directory is None


def test_a_major_that_is_not_there_is_a_missing_part() -> None:
    with pytest.raises(PartMissing, match="Postgres 9 is not on this machine"):
        find_postgres(9)


def test_a_wrong_directory_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RIVERBRIDGE_PG_BIN", str(tmp_path))
    with pytest.raises(PartMissing, match="RIVERBRIDGE_PG_BIN: no postgres"):
        find_postgres()


@pytest.mark.postgres
def test_the_environment_goes_before_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = find_postgres(18)
    assert postgres_major(chosen) == 18
    monkeypatch.setenv("RIVERBRIDGE_PG_BIN", str(chosen))
    assert find_postgres() == chosen


def test_databases_do_not_share_tables(empty_database: Database) -> None:
    with empty_database.connect() as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (0,)
        connection.execute("CREATE TABLE mine ()")
    name = new_name()
    other = empty_database.server.create_database(name)
    try:
        assert rows(other, "SELECT 1 FROM pg_tables WHERE tablename = 'mine'") == []
    finally:
        empty_database.server.drop_database(name)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_the_tables_with_nothing_in_them(database: Database, turn: int) -> None:
    lines = "SELECT line, max(version) FROM river_migration GROUP BY line ORDER BY line"
    with database.connect() as connection:
        applied = dict(connection.execute(lines).fetchall())
        assert applied["main"] == 7
        assert applied["riverbridge"] >= 1
        assert connection.execute("SELECT count(*) FROM river_queue").fetchone() == (0,)
        connection.execute("INSERT INTO river_queue (name, updated_at) VALUES ('q', now())")


def test_broker_gives_back_what_it_took(kafka: Broker) -> None:
    topic = new_name("orders")
    kafka.create_topic(topic, partitions=3)
    assert send(kafka.bootstrap_servers, topic, b"one") == [None]
    assert first_value(kafka.bootstrap_servers, topic) == b"one"


def test_broker_refuses_a_topic_that_exists(kafka: Broker) -> None:
    topic = new_name("orders")
    kafka.create_topic(topic)
    with pytest.raises(ServerFailed, match="TOPIC_ALREADY_EXISTS"):
        kafka.create_topic(topic)


def test_a_paused_broker_answers_nothing_until_it_goes_on(own_kafka: Broker) -> None:
    own_kafka.create_topic("orders")
    own_kafka.pause()
    servers, short = own_kafka.bootstrap_servers, {"message.timeout.ms": 500}
    assert "_MSG_TIMED_OUT" in repr(send(servers, "orders", b"lost", **short))
    own_kafka.resume()
    assert send(servers, "orders", b"one") == [None]


def test_broker_leaves_nothing(own_kafka: Broker) -> None:
    pid, port = own_kafka.pid, own_kafka.port
    own_kafka.restart()
    assert is_gone(pid)
    assert own_kafka.port == port
    pid = own_kafka.pid
    own_kafka.stop()
    assert is_gone(pid)
    assert not port_answers(port)
    with pytest.raises(ServerFailed, match="not running"):
        own_kafka.pause()


def test_apache_kafka_hides_aborted_records_and_keeps_data(real_kafka: RealKafka) -> None:
    topic = new_name("orders")
    real_kafka.create_topic(topic)
    producer = Producer(
        {
            "bootstrap.servers": real_kafka.bootstrap_servers,
            "transactional.id": topic,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(10)
    real_kafka.restart()
    assert first_value(real_kafka.bootstrap_servers, topic) == b"committed"


def test_sqs_orders_a_fifo_queue(sqs: SqsServer) -> None:
    url = sqs.create_queue(new_name("orders"), fifo=True)
    assert url.endswith(".fifo")
    for body in ("one", "two"):
        sqs.client().send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body
        )
    got = sqs.client().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert [message["Body"] for message in got["Messages"]] == ["one", "two"]


def test_sqs_leaves_nothing(own_sqs: SqsServer) -> None:
    own_sqs.create_queue("orders")
    own_sqs.reset()
    assert own_sqs.client().list_queues().get("QueueUrls", []) == []
    pid, port = own_sqs.pid, own_sqs.port
    own_sqs.stop()
    assert is_gone(pid)
    assert not port_answers(port)
