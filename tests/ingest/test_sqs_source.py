"""The SQS source on a real server, and on one that goes wrong in known ways."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
import psycopg
import pytest
from botocore.credentials import Credentials

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.service.receiving import make_intake
from riverbridge.service.wiring import open_sinks
from riverbridge.sinks.base import Message
from riverbridge.sources.base import Bounds, Event, Source
from riverbridge.sources.sqs import SqsSource
from riverbridge.store.database import connector
from tests.bridge.aws_server import AwsStub
from tests.ingest.rows import args_of, numbers, quarantined
from tests.support.bridge import running_bridge
from tests.support.database import Database
from tests.support.given import GivenSqs
from tests.support.running import running
from tests.support.wait import eventually
from tests.unit.settings_cases import read

Server = SqsServer | GivenSqs
KEYS = Credentials("test", "test")
SOON = Bounds(seconds=5.0)


@pytest.fixture
def open_source() -> Iterator[Callable[..., SqsSource]]:
    opened: list[SqsSource] = []

    def open_(url: str, endpoint: str, **more: Any) -> SqsSource:
        given: dict[str, Any] = {
            "wait": 1,
            "hidden": 30,
            "region": REGION,
            "credentials": KEYS,
        } | more
        source = SqsSource(name="s", queue_url=url, endpoint_url=endpoint, **given)
        opened.append(source)
        return source

    yield open_
    for source in opened:
        source.close()
    assert [t for t in threading.enumerate() if t.name == "sqs-source"] == []


class Box:
    """A queue of its own."""

    def __init__(self, server: Server, *, fifo: bool = False) -> None:
        self.client = server.client()
        self.endpoint = server.endpoint_url
        self.url = server.create_queue(f"box-{uuid.uuid4().hex}", fifo)

    def send(self, body: object, **more: Any) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        sent = self.client.send_message(QueueUrl=self.url, MessageBody=text, **more)
        return sent["MessageId"]

    def visible(self, seconds: int = 0) -> list[str]:
        """The bodies that another reader gets."""
        got = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds, VisibilityTimeout=0
        )
        return [message["Body"] for message in got.get("Messages", [])]

    def left(self) -> int:
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        counts = found["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(
            counts["ApproximateNumberOfMessagesNotVisible"]
        )


@pytest.fixture
def box(sqs: Server) -> Box:
    return Box(sqs)


@pytest.fixture
def fifo(sqs: Server) -> Box:
    return Box(sqs, fifo=True)


Open = Callable[..., SqsSource]


def test_what_is_held_stays_hidden_and_is_given_back_at_the_end(
    box: Box, open_source: Open
) -> None:
    box.send({"n": 1})
    source = open_source(box.url, box.endpoint, hidden=1)
    [event] = source.receive(SOON)
    held = time.monotonic()
    while time.monotonic() < held + 2.5:  # it would have come again twice
        source.idle(0.1)
        assert box.visible() == []
    source.release([event])
    assert [one.id for one in source.receive(SOON)] == [event.id]
    source.close()
    assert box.visible(2) == ['{"n": 1}']


def test_nothing_is_asked_for_while_it_is_paused(box: Box, open_source: Open) -> None:
    source = open_source(box.url, box.endpoint)
    assert source.receive(Bounds(seconds=0.1)) == []
    source.idle(1.5)  # the request under way ends
    box.send({"n": 1})
    source.idle(0.3)
    assert box.visible() == ['{"n": 1}']
    assert len(source.receive(SOON)) == 1


def test_what_is_acknowledged_is_deleted_and_what_was_released_comes_in_its_order(
    fifo: Box, open_source: Open
) -> None:
    for n in range(25):
        fifo.send({"n": n}, MessageGroupId="g", MessageDeduplicationId=str(n))
    source = open_source(fifo.url, fifo.endpoint)
    seen: list[int] = []
    while len(seen) < 25:
        events = source.receive(Bounds(count=7, seconds=5.0))
        source.release(events)
        again = source.receive(Bounds(count=4))
        assert [one.id for one in again] == [one.id for one in events[:4]]
        seen += [json.loads(event.body or b"")["n"] for event in again]
        source.acknowledge(again)
    assert seen == list(range(25))
    eventually(lambda: fifo.left() == 0)


@contextmanager
def receiving(
    source: Callable[[], Source], database: Database, plan: Plan | None = None
) -> Iterator[Receiver]:
    intake = Intake(Mapper("events", plan or Plan(kind="event")), remember=timedelta(days=1))
    receiver = Receiver("events", source, intake, connect=connector(database.dsn))
    with running(receiver):
        yield receiver


def test_two_processes_with_several_receivers_keep_the_order_of_each_group(
    fifo: Box, tables: Database, open_source: Open
) -> None:
    def source() -> SqsSource:
        return open_source(fifo.url, fifo.endpoint, receivers=4)

    entries = [
        {
            "Id": str(n), "MessageBody": json.dumps({"n": n}), "MessageGroupId": f"g{n % 7}",
            "MessageDeduplicationId": str(n),
        }
        for n in range(500)
    ]  # fmt: skip
    with receiving(source, tables), receiving(source, tables):
        for at in range(0, 500, 10):
            fifo.client.send_message_batch(QueueUrl=fifo.url, Entries=entries[at : at + 10])  # type: ignore[arg-type]
        eventually(lambda: len(args_of(tables)) == 500, within=30)
        eventually(lambda: fifo.left() == 0, within=10)
    groups = defaultdict(list)
    for args in args_of(tables):
        groups[args["n"] % 7].append(args["n"])
    assert dict(groups) == {k: list(range(k, 500, 7)) for k in range(7)}


def test_a_message_that_comes_again_is_known_though_its_job_is_gone(
    box: Box, tables: Database, open_source: Open
) -> None:
    """Its delete was lost, and it was hidden no more."""
    box.send({"n": 1})
    deaf = open_source(box.url, box.endpoint, hidden=1)
    deaf.acknowledge = lambda events: None  # type: ignore[method-assign]
    with receiving(lambda: deaf, tables):
        eventually(lambda: numbers(tables) == {1: 1}, within=10)
    with tables.connect() as connection:
        connection.execute("DELETE FROM river_job")
    with receiving(lambda: open_source(box.url, box.endpoint), tables):
        eventually(lambda: box.left() == 0, within=10)
    assert args_of(tables) == []


def received(source: Source, count: int = 1) -> list[Event]:
    events: list[Event] = []
    limit = time.monotonic() + 10
    while len(events) < count:
        assert time.monotonic() < limit
        got = source.receive(SOON)
        source.acknowledge(got)
        events += got
    return events


def test_a_message_is_an_event_with_its_attributes_and_what_sqs_says_of_it(
    box: Box, open_source: Open
) -> None:
    attributes = {
        "a": {"DataType": "String", "StringValue": "é"},
        "n": {"DataType": "Number", "StringValue": "1"},
        "b": {"DataType": "Binary", "BinaryValue": b"\xff"},
        "headers": {"DataType": "String", "StringValue": '{"h": "1", "twice": ["2", "3"]}'},
        "ApproximateReceiveCount": {"DataType": "String", "StringValue": "99"},
    }
    before = time.time()
    sent = box.send("{}", MessageAttributes=attributes)
    [event] = received(open_source(box.url, box.endpoint))
    assert (event.id, event.topic, event.key) == (sent, box.url.rpartition("/")[2], None)
    headers = dict(event.headers)
    assert headers == {
        "a": "é".encode(), "n": b"1", "b": b"\xff", "h": b"1", "twice": b"3",
        "MessageId": sent.encode(), "ApproximateReceiveCount": b"1",
    }  # fmt: skip
    assert event.at is not None
    assert abs(event.at.timestamp() - before) < 60


def test_a_deduplication_id_is_the_identity_unless_it_is_made_of_the_body(
    fifo: Box, open_source: Open
) -> None:
    made = hashlib.sha256(b'{"n": 2}').hexdigest()
    fifo.send({"n": 1}, MessageGroupId="g", MessageDeduplicationId="order-1")
    second = fifo.send({"n": 2}, MessageGroupId="g", MessageDeduplicationId=made)
    one, two = received(open_source(fifo.url, fifo.endpoint), 2)
    assert (one.id, one.key) == ("g order-1", b"g")
    assert two.id == second


def test_one_that_was_received_too_often_goes_into_quarantine(
    box: Box, tables: Database, open_source: Open
) -> None:
    box.send({"n": 1})
    assert box.visible() == box.visible() == ['{"n": 1}']
    with receiving(lambda: open_source(box.url, box.endpoint, max_receives=2), tables):
        eventually(lambda: box.left() == 0, within=10)
    [row] = quarantined(tables)
    assert "received 3 times" in row.reason
    assert args_of(tables) == []


def test_what_the_server_says_is_said_until_it_is_well(
    box: Box, sqs: Server, open_source: Open
) -> None:
    source = open_source(box.url + "-never", box.endpoint)
    eventually(lambda: "does not exist" in (source.problem() or ""), within=10)
    client = sqs.client()
    client.create_queue(QueueName=box.url.rpartition("/")[2] + "-never")
    eventually(lambda: source.problem() is None, within=10)


@pytest.fixture
def stub() -> Iterator[AwsStub]:
    server = AwsStub(always=lambda request: (200, {}))
    yield server
    server.close()


def messages(*bodies: str) -> tuple[int, dict[str, Any]]:
    found = [
        {
            "MessageId": f"m{n}", "ReceiptHandle": f"r{n}", "Body": body,
            "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
        }
        for n, body in enumerate(bodies)
    ]  # fmt: skip
    return 200, {"Messages": found}


def test_how_many_messages_wait(
    box: Box, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.sources.sqs.MEASURE", 0.05)
    source = open_source(box.url, box.endpoint)
    source.idle(1.5)  # the request under way ends
    for n in range(3):
        box.send({"n": n})
    eventually(lambda: source.lag() == 3, within=10)
    assert len(received(source, 3)) == 3
    eventually(lambda: source.lag() == 0, within=10)


def test_that_nobody_says_how_many_wait_is_no_trouble(
    stub: AwsStub,
    open_source: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("riverbridge.sources.sqs.MEASURE", 0.02)
    caplog.set_level("INFO")
    source = open_source(f"{stub.url}/1/q", stub.url)
    for limit, lag in (
        (stub.limit, None),  # says other things
        ((200, {"Attributes": {"ApproximateNumberOfMessages": "7"}}), 7),
        ((403, {"__type": "AccessDenied"}), None),
    ):
        stub.limit = limit
        eventually(lambda: source.lag() == lag)  # noqa: B023
        assert source.problem() is None
    eventually(lambda: "how many messages wait is not known" in caplog.text)
    assert caplog.text.count("is not known") == 1


def deletes(stub: AwsStub) -> list[list[str]]:
    with stub.lock:
        return [
            [entry["ReceiptHandle"] for entry in request["Entries"]]
            for request in stub.requests
            if "Entries" in request and "VisibilityTimeout" not in request["Entries"][0]
        ]


def answering(stub: AwsStub, delete: Sequence[Any]) -> None:
    """Give three messages, then none; and answer deletes as told."""
    given = iter([messages("{}", "[]", "1")])
    answers = iter(delete)

    def turn(request: dict[str, Any]) -> Any:
        if "Entries" in request:
            return next(answers, (200, {}))
        if request["WaitTimeSeconds"]:
            time.sleep(0.05)
        return next(given, (200, {}))

    stub.always = turn


def test_deletes_that_fail_are_tried_again_alone(stub: AwsStub, open_source: Open) -> None:
    failed = {"Failed": [{"Id": "1", "Code": "InternalError", "SenderFault": False}]}
    gone = {"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}]}
    answering(stub, [(503, {}), (200, failed), (200, gone)])
    source = open_source(f"{stub.url}/1/q", stub.url)
    received(source, 3)
    eventually(lambda: len(deletes(stub)) == 3)
    source.close()
    assert deletes(stub) == [["r0", "r1", "r2"], ["r0", "r1", "r2"], ["r1"]]


def test_deletes_that_fail_for_good_are_said_once(
    stub: AwsStub, open_source: Open, caplog: pytest.LogCaptureFixture
) -> None:
    answering(stub, [(503, {})] * 50)
    source = open_source(f"{stub.url}/1/q", stub.url)
    received(source, 3)
    source.close()
    assert caplog.text.count("could not delete 3 messages, which come again") == 1


def test_a_message_that_was_damaged_on_its_way_is_not_handed_over(
    stub: AwsStub, open_source: Open
) -> None:
    """Nor are those that came with it: they may be of its group, and come again in their order."""
    status, damaged = messages("1", "2")
    damaged["Messages"][0]["Body"] = "3"
    stub.turns.extend([(status, damaged), messages("1", "2")])
    events = received(open_source(f"{stub.url}/1/q", stub.url), 2)
    assert [event.body for event in events] == [b"1", b"2"]


def test_messages_of_a_mebibyte_each_come_in_one_answer(stub: AwsStub, open_source: Open) -> None:
    stub.turns.append(messages(*(json.dumps("é" * 500_000, ensure_ascii=False) for _ in range(10))))
    assert len(received(open_source(f"{stub.url}/1/q", stub.url), 10)) == 10


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def settings_of(box: Box, **more: str) -> dict[str, str]:
    given = {
        "TYPE": "sqs", "QUEUE_URL": box.url, "ENDPOINT_URL": box.endpoint, "KIND": "event",
        "WAIT": "1s", "VISIBILITY": "10s",
    }  # fmt: skip
    return {f"SOURCES__EVENTS__{name}": value for name, value in (given | more).items()}


@pytest.mark.usefixtures("credentials")
def test_what_our_sink_left_in_s3_is_fetched(box: Box, tables: Database) -> None:
    bucket = f"large-{uuid.uuid4().hex}"
    s3: Any = boto3.client("s3", endpoint_url=box.endpoint, region_name=REGION)
    s3.create_bucket(Bucket=bucket)
    env = {
        "RIVERBRIDGE_SINKS__OUT__TYPE": "sqs",
        "RIVERBRIDGE_SINKS__OUT__QUEUE_URL": box.url,
        "RIVERBRIDGE_SINKS__OUT__ENDPOINT_URL": box.endpoint,
        "RIVERBRIDGE_SINKS__OUT__REGION": REGION,
        "RIVERBRIDGE_SINKS__OUT__LARGE__POLICY": "claim-check",
        "RIVERBRIDGE_SINKS__OUT__LARGE__LIMIT": "1000",
        "RIVERBRIDGE_SINKS__OUT__LARGE__BUCKET": bucket,
        "RIVERBRIDGE_SINKS__OUT__LARGE__ENDPOINT_URL": box.endpoint,
    }
    sink = open_sinks(read(env))["out"].sink
    large = {"n": 1, "text": "é" * 5000}
    bodies = [json.dumps(large).encode(), b'{"n": 2}']
    sent = [Message(id=str(n), body=body) for n, body in enumerate(bodies)]
    sink.deliver(sent, time.monotonic() + 10)
    sink.close()
    env = settings_of(box, FETCH__FROM=f"s3://{bucket}/", FETCH__ENDPOINT_URL=box.endpoint)
    with running_bridge(tables, {}, env):
        eventually(lambda: len(args_of(tables)) == 2, within=20)
    assert sorted(args_of(tables), key=lambda args: args["n"]) == [large, {"n": 2}]


@pytest.mark.usefixtures("credentials")
def test_while_s3_is_away_the_source_waits_and_nothing_is_put_away(
    box: Box, tables: Database
) -> None:
    pointer = ["software.amazon.payloadoffloading.PayloadS3Pointer"]
    box.send(
        [*pointer, {"s3BucketName": "box", "s3Key": "k"}],
        MessageAttributes={"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "9"}},
    )
    nobody = {"FETCH__FROM": "s3://box", "FETCH__ENDPOINT_URL": "http://127.0.0.1:1"}
    with running_bridge(tables, {}, settings_of(box, **nobody)) as bridge:
        eventually(
            lambda: "S3 does not answer" in (bridge.checks()["source-events"] or ""), within=10
        )
    assert quarantined(tables) == []
    assert box.left() == 1


@pytest.mark.usefixtures("credentials")
def test_sns_notifications_raw_and_wrapped_become_jobs(box: Box, tables: Database) -> None:
    sns: Any = boto3.client("sns", endpoint_url=box.endpoint, region_name=REGION)
    found = box.client.get_queue_attributes(QueueUrl=box.url, AttributeNames=["QueueArn"])
    attributes = {"plan": {"DataType": "String", "StringValue": "pro"}}
    for number, raw in enumerate(("false", "true")):
        topic = sns.create_topic(Name=f"topic-{uuid.uuid4().hex}")["TopicArn"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=found["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": raw},
        )
        message = json.dumps({"n": number})
        sns.publish(TopicArn=topic, Message=message, MessageAttributes=attributes)
    env = settings_of(box, UNWRAP="sns", TAGS="{headers.plan}")
    with running_bridge(tables, {}, env):
        eventually(lambda: numbers(tables) == {0: 1, 1: 1}, within=20)
    with psycopg.connect(tables.dsn) as connection:
        rows = connection.execute("SELECT tags FROM river_job").fetchall()
    assert rows == [(["pro"],)] * 2


def test_a_batch_is_no_larger_than_its_fetched_bodies_allow() -> None:
    prefix = "RIVERBRIDGE_SOURCES__S__"
    env = {
        prefix + "TYPE": "sqs",
        prefix + "QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/q",
        prefix + "KIND": "k1",
    }
    assert make_intake("s", read(env).sources["s"]).bounds.count == 1000
    fetching = env | {prefix + "FETCH__FROM": "s3://box", prefix + "FETCH__LIMIT": "16MiB"}
    assert make_intake("s", read(fetching).sources["s"]).bounds.count == 4
