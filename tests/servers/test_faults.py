"""The servers that fail on command fail as they were told, and only then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
import psycopg
import pytest
from botocore.config import Config
from psycopg.conninfo import make_conninfo

from riverbridge.embedded.postgres import Postgres
from riverbridge.errors import PartMissing
from riverbridge.testing.proxy import Proxy
from tests.servers.test_embedded import rows, send
from tests.support import mock_kafka
from tests.support.database import Database
from tests.support.mock_kafka import MockKafka
from tests.support.parts import part
from tests.support.sqs_stub import SqsStub
from tests.support.wait import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MakeProxy = Callable[[int], Proxy]


def test_mock_kafka_takes_messages(kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("orders", partitions=3)
    assert send(kafka_mock.bootstrap_servers, "orders", b"one") == [None]


@pytest.mark.parametrize("code", [6, 19, mock_kafka.CONNECTION_LOST])
def test_mock_kafka_passing_errors_are_retried(kafka_mock: MockKafka, code: int) -> None:
    kafka_mock.create_topic("orders")
    kafka_mock.push_errors(mock_kafka.PRODUCE, code)
    assert send(kafka_mock.bootstrap_servers, "orders", b"one") == [None]


def test_mock_kafka_lasting_errors_are_reported(kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("orders")
    kafka_mock.push_errors(mock_kafka.PRODUCE, 10)
    answer = send(kafka_mock.bootstrap_servers, "orders", b"one")
    assert "MSG_SIZE_TOO_LARGE" in repr(answer)
    assert send(kafka_mock.bootstrap_servers, "orders", b"two") == [None]


def test_mock_kafka_brokers_go_down_and_come_back(kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("orders")
    kafka_mock.set_broker_down()
    short = {"message.timeout.ms": 500}
    assert "_MSG_TIMED_OUT" in repr(send(kafka_mock.bootstrap_servers, "orders", b"1", **short))
    kafka_mock.set_broker_up()
    assert send(kafka_mock.bootstrap_servers, "orders", b"2") == [None]


def test_mock_kafka_topic_error(kafka_mock: MockKafka) -> None:
    kafka_mock.create_topic("orders")
    kafka_mock.set_topic_error("orders", 29)
    answer = send(kafka_mock.bootstrap_servers, "orders", b"one")
    assert "TOPIC_AUTHORIZATION_FAILED" in repr(answer)


def test_proxy_passes_refuses_and_passes_again(empty_database: Database, proxy: MakeProxy) -> None:
    between, dsn = _between(empty_database, proxy)
    assert rows(dsn, "SELECT 1") == [(1,)]
    between.set_mode("refuse")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        rows(dsn, "SELECT 1")
    between.set_mode("pass")
    assert rows(dsn, "SELECT 1") == [(1,)]
    assert between.connections == 2


def test_proxy_cuts_what_is_connected(empty_database: Database, proxy: MakeProxy) -> None:
    between, dsn = _between(empty_database, proxy)
    with psycopg.connect(dsn, autocommit=True) as connection:
        between.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert rows(dsn, "SELECT 1") == [(1,)]


def test_proxy_swallows_and_lets_go_on(empty_database: Database, proxy: MakeProxy) -> None:
    between, dsn = _between(empty_database, proxy)
    between.set_mode("blackhole")
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(dsn, connect_timeout=2)
    between.set_mode("pass")
    assert rows(dsn, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("forward", [True, False])
def test_proxy_cuts_at_the_commit(
    empty_database: Database, proxy: MakeProxy, forward: bool
) -> None:
    rows(empty_database.dsn, "CREATE TABLE t (n int)")
    between, dsn = _between(empty_database, proxy)
    between.cut_on(b"COMMIT", forward=forward)
    with pytest.raises(psycopg.OperationalError), psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert between.cuts == 1

    def others_are_gone() -> bool:
        return rows(
            empty_database.dsn,
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        ) == [(0,)]

    eventually(others_are_gone)
    assert rows(empty_database.dsn, "SELECT count(*) FROM t") == [(int(forward),)]


def _between(database: Database, proxy: MakeProxy) -> tuple[Proxy, str]:
    with database.connect() as connection:
        port = connection.info.port
    between = proxy(port)
    return between, make_conninfo(database.dsn, host="127.0.0.1", port=between.port)


@pytest.fixture
def stub_client(sqs_stub: SqsStub) -> Iterator[SQSClient]:
    client = boto3.client(
        "sqs", endpoint_url=sqs_stub.endpoint_url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
    )  # fmt: skip
    yield client
    client.close()


def _send(client: SQSClient, url: str, *bodies: str) -> dict[str, object]:
    reply = client.send_message_batch(
        QueueUrl=url,
        Entries=[
            {
                "Id": str(index),
                "MessageBody": body,
                "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "x"}},
            }
            for index, body in enumerate(bodies)
        ],
    )
    return dict(reply)


def _ids(reply: dict[str, object], part: str) -> list[str]:
    entries = reply.get(part, [])
    assert isinstance(entries, list)
    return [entry["Id"] for entry in entries]


def test_stub_answers_as_sqs(sqs_stub: SqsStub, stub_client: SQSClient) -> None:
    url = stub_client.get_queue_url(QueueName="orders.fifo")["QueueUrl"]
    assert url == sqs_stub.queue_url("orders.fifo")
    shown = stub_client.get_queue_attributes(QueueUrl=url, AttributeNames=["FifoQueue"])
    assert shown["Attributes"] == {"FifoQueue": "true"}
    reply = stub_client.send_message_batch(
        QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "one", "MessageGroupId": "g"}]
    )
    entry = reply["Successful"][0]
    assert entry["MD5OfMessageBody"] == hashlib.md5(b"one").hexdigest()
    assert int(entry["SequenceNumber"]) > 0
    assert sqs_stub.count == 1
    assert sqs_stub.received()[0]["MessageBody"] == "one"


def test_stub_fails_loses_and_garbles_entries(sqs_stub: SqsStub, stub_client: SQSClient) -> None:
    url = sqs_stub.queue_url("orders")
    sqs_stub.fail_entries(0, code="InternalError")
    sqs_stub.lose_entries(1)
    sqs_stub.wrong_md5(0)
    failed = _send(stub_client, url, "a", "b")
    assert (_ids(failed, "Failed"), _ids(failed, "Successful")) == (["0"], ["1"])
    lost = _send(stub_client, url, "a", "b")
    assert (_ids(lost, "Failed"), _ids(lost, "Successful")) == ([], ["0"])
    entries = _send(stub_client, url, "a", "b")["Successful"]
    assert isinstance(entries, list)
    right = [hashlib.md5(body).hexdigest() for body in (b"a", b"b")]
    assert [e["MD5OfMessageBody"] == md5 for e, md5 in zip(entries, right, strict=True)] == [
        False,
        True,
    ]
    assert _ids(_send(stub_client, url, "a"), "Successful") == ["0"]
    assert sqs_stub.count == 6


@pytest.mark.parametrize("status", [403, 500, 503])
def test_stub_refuses_calls(sqs_stub: SqsStub, stub_client: SQSClient, status: int) -> None:
    sqs_stub.fail_call(status, "SomeCode")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        _send(stub_client, sqs_stub.queue_url("orders"), "a")
    assert caught.value.response["Error"]["Code"] == "SomeCode"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert sqs_stub.count == 0


@pytest.mark.parametrize(("after", "count"), [(True, 1), (False, 0)])
def test_stub_resets(sqs_stub: SqsStub, stub_client: SQSClient, after: bool, count: int) -> None:
    sqs_stub.reset(after=after)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        _send(stub_client, sqs_stub.queue_url("orders"), "a")
    assert sqs_stub.count == count
    assert _ids(_send(stub_client, sqs_stub.queue_url("orders"), "a"), "Successful") == ["0"]


def test_a_missing_part_is_a_skip_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def miss() -> None:
        with part("kafka"):
            raise PartMissing("no broker. To get it: do this")

    monkeypatch.setenv("RIVERBRIDGE_REQUIRE", "postgres")
    with pytest.raises(pytest.skip.Exception, match="do this"):
        miss()
    monkeypatch.setenv("RIVERBRIDGE_REQUIRE", "postgres,kafka")
    with pytest.raises(pytest.fail.Exception, match="do this"):
        miss()


def test_a_fixture_brings_its_marker(
    own_postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    assert own_postgres.port
    assert request.node.get_closest_marker("postgres") is not None
    assert request.node.get_closest_marker("kafka") is None
