"""The SNS, EventBridge and Kinesis sinks against ministack: what arrives, and in which order."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from riverbridge.embedded.sqs import SqsServer
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.base import Message
from riverbridge.sinks.eventbridge import EventBridgeSink
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.sns import SnsSink
from tests.support.given import GivenSqs

Server = SqsServer | GivenSqs
Make = Callable[..., AwsSink]
HEADERS = (
    ("ce_id", "db:1"),
    ("ce_type", "order.placed"),
    ("ce_time", "2026-01-02T03:04:05.678Z"),
    ("ce_specversion", "1.0"),
    ("ce_source", "shop/db"),
    ("content-type", "application/json"),
)


@pytest.fixture
def make(sqs: Server) -> Iterator[Make]:
    sinks: list[AwsSink] = []

    def make(kind: Callable[..., AwsSink], **more: Any) -> AwsSink:
        keys = Credentials("test", "test")
        sink = kind(region="us-east-1", endpoint_url=sqs.endpoint_url, credentials=keys, **more)
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close()


def client(server: Server, service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service, endpoint_url=server.endpoint_url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip


def send(sink: AwsSink, some: list[Message]) -> list[Outcome]:
    outcomes = list(sink.deliver(some, time.monotonic() + 10))
    assert len(outcomes) == len(some)
    return outcomes


def messages(count: int, keys: int = 0) -> list[Message]:
    return [
        Message(
            f"e:{n}", b'{"n": %d}' % n, "order.placed", f"k{n % keys}" if keys else None, HEADERS
        )
        for n in range(count)
    ]


def received(server: Server, url: str, count: int) -> list[dict[str, Any]]:
    """All messages of a queue, in the order they come; at most ten seconds."""
    got: list[dict[str, Any]] = []
    until = time.monotonic() + 10
    sqs: Any = server.client()
    while len(got) < count and time.monotonic() < until:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"],
            AttributeNames=["All"], WaitTimeSeconds=1,
        )  # fmt: skip
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            got.append(message)
    return got


def queue_arn(server: Server, url: str) -> str:
    found = server.client().get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return found["Attributes"]["QueueArn"]


@pytest.fixture
def name() -> str:
    return f"sink-{uuid.uuid4().hex}"


class TestSns:
    def topic(self, server: Server, name: str, fifo: bool = False) -> tuple[str, str]:
        """A topic, and the URL of a queue that gets its messages as they are."""
        sns = client(server, "sns")
        url = server.create_queue(name, fifo)
        attributes = {"FifoTopic": "true"} if fifo else {}
        arn = sns.create_topic(Name=name + ".fifo" * fifo, Attributes=attributes)["TopicArn"]
        sns.subscribe(
            TopicArn=arn, Protocol="sqs", Endpoint=queue_arn(server, url),
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip
        return arn, url

    def test_messages_arrive_with_their_attributes(
        self, sqs: Server, make: Make, name: str
    ) -> None:
        arn, url = self.topic(sqs, name)
        some = messages(25)
        some[3] = Message("e:3", '{"n": 3, "text": "a&b=c+ü€😀"}'.encode(), headers=HEADERS)
        assert send(make(SnsSink, topic_arn=arn), some) == [Delivered()] * 25
        got = received(sqs, url, 25)
        bodies = {json.loads(message["Body"])["n"]: message["Body"].encode() for message in got}
        assert bodies == {n: message.body for n, message in enumerate(some)}
        for message in got:
            values = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
            assert values == dict(HEADERS)

    def test_a_fifo_topic_keeps_the_order_of_groups(
        self, sqs: Server, make: Make, name: str
    ) -> None:
        arn, url = self.topic(sqs, name, fifo=True)
        sink = make(SnsSink, topic_arn=arn)
        some = messages(60, keys=7)
        assert send(sink, some) == [Delivered()] * 60
        assert send(sink, some[:20]) == [Delivered()] * 20  # SNS drops what it had
        groups: dict[str, list[int]] = defaultdict(list)
        for message in received(sqs, url, 60):
            n = json.loads(message["Body"])["n"]
            groups[message["Attributes"]["MessageGroupId"]].append(n)
        assert groups == {f"k{k}": list(range(k, 60, 7)) for k in range(7)}
        assert "Messages" not in sqs.client().receive_message(QueueUrl=url, WaitTimeSeconds=0)

    def test_sizes_at_the_limit(self, sqs: Server, make: Make, name: str) -> None:
        arn, _ = self.topic(sqs, name)
        sizes = [262_144, 262_145, 200_000, 200_000]
        outcomes = send(make(SnsSink, topic_arn=arn), [Message(str(n), b"x" * n) for n in sizes])
        assert [type(o) for o in outcomes] == [Delivered, Permanent, Delivered, Delivered]

    def test_a_topic_that_is_not_there(self, sqs: Server, make: Make, name: str) -> None:
        sink = make(SnsSink, topic_arn=f"arn:aws:sns:us-east-1:000000000000:{name}")
        (outcome,) = send(sink, messages(1))
        assert isinstance(outcome, Misconfigured)
        assert "NotFound" in outcome.error


class TestEventBridge:
    def test_events_reach_the_rule_that_matches(self, sqs: Server, make: Make, name: str) -> None:
        events, url = client(sqs, "events"), sqs.create_queue(name)
        events.create_event_bus(Name=name)
        pattern = {"source": ["shop/db"], "detail-type": ["order.placed"], "detail": {"n": [7, 12]}}
        events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps(pattern))
        target = {"Id": "1", "Arn": queue_arn(sqs, url)}
        events.put_targets(Rule=name, EventBusName=name, Targets=[target])
        outcomes = send(make(EventBridgeSink, event_bus=name, receipts=True), messages(25))
        assert [type(outcome) for outcome in outcomes] == [Delivered] * 25
        receipts = {getattr(outcome, "receipt", None) for outcome in outcomes}
        assert len(receipts - {None}) == 25
        got = [json.loads(message["Body"]) for message in received(sqs, url, 2)]
        assert sorted(event["detail"]["n"] for event in got) == [7, 12]
        for event in got:
            assert event["resources"] == [f"e:{event['detail']['n']}"]
            assert event["source"] == "shop/db"
            assert event["detail-type"] == "order.placed"

    def test_each_entry_by_its_own_result(self, sqs: Server, make: Make) -> None:
        some = messages(3)
        some[1] = Message("e", b"{}", "t", None, (("ce_source", "aws.ours"),))
        outcomes = send(make(EventBridgeSink), some)
        assert outcomes[::2] == [Delivered()] * 2
        assert isinstance(outcomes[1], Misconfigured)
        assert "NotAuthorizedForSource" in outcomes[1].error


class TestKinesis:
    def stream(self, server: Server, name: str, shards: int) -> Any:
        kinesis = client(server, "kinesis")
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        kinesis.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
        )
        return kinesis

    def records(self, kinesis: Any, name: str) -> list[list[dict[str, Any]]]:
        """The records of each shard, in order."""
        found = []
        for shard in kinesis.list_shards(StreamName=name)["Shards"]:
            at = kinesis.get_shard_iterator(
                StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found.append(kinesis.get_records(ShardIterator=at, Limit=10_000)["Records"])
        return found

    def test_records_are_cloud_events_in_the_order_of_their_keys(
        self, sqs: Server, make: Make, name: str
    ) -> None:
        kinesis = self.stream(sqs, name, 3)
        arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        some = messages(1100, keys=23)
        sink = make(KinesisSink, stream_arn=arn["StreamARN"], receipts=True)
        outcomes = send(sink, some)
        keys: dict[str, list[int]] = defaultdict(list)
        shards = self.records(kinesis, name)
        for record in [record for shard in shards for record in shard]:
            event = json.loads(record["Data"])
            keys[record["PartitionKey"]].append(event.pop("data")["n"])
            assert event == {
                "id": "db:1", "type": "order.placed", "time": "2026-01-02T03:04:05.678Z",
                "specversion": "1.0", "source": "shop/db", "datacontenttype": "application/json",
            }  # fmt: skip
        assert keys == {f"k{k}": list(range(k, 1100, 23)) for k in range(23)}
        assert all(shards)
        ids = [shard["ShardId"] for shard in kinesis.list_shards(StreamName=name)["Shards"]]
        places = {
            f"{id_}@{record['SequenceNumber']}"
            for id_, shard in zip(ids, shards, strict=True)
            for record in shard
        }
        assert {getattr(outcome, "receipt", None) for outcome in outcomes} == places

    def test_sizes_at_the_limit_and_raw_args(self, sqs: Server, make: Make, name: str) -> None:
        kinesis = self.stream(sqs, name, 1)
        sink = make(KinesisSink, stream_name=name, cloud_event=False)
        sizes = [1_048_575, 1_048_576, 10]
        outcomes = send(sink, [Message("1", b"x" * n) for n in sizes])
        assert [type(o) for o in outcomes] == [Delivered, Permanent, Delivered]
        (records,) = self.records(kinesis, name)
        assert [len(record["Data"]) for record in records] == [1_048_575, 10]
        assert {record["PartitionKey"] for record in records} == {"1"}

    def test_a_stream_that_is_not_there(self, make: Make, name: str) -> None:
        (outcome,) = send(make(KinesisSink, stream_name=name), messages(1))
        assert isinstance(outcome, Misconfigured)
        assert "ResourceNotFound" in outcome.error
