"""The SNS, EventBridge and Kinesis sinks do what every sink has to do, as far as each can."""

from __future__ import annotations

import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.credentials import Credentials
from msgspec.json import decode, encode

from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.model.outcome import Delivered
from riverbridge.sinks.aws_text import OVERFLOW
from riverbridge.sinks.base import Sink
from riverbridge.sinks.eventbridge import EventBridgeSink
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.sns import SnsSink
from riverbridge.testing.conformance import TEXTS, SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness
from riverbridge.testing.proxy import Proxy
from riverbridge.testing.trial import Trial, ids
from tests.support.given import GivenSqs
from tests.support.sqs_stub import SqsStub

Server = SqsServer | GivenSqs
SECRETS = ("s3cret-of-the-suite", "wr0ng-in-the-suite")


class AwsHarness(SinkHarness):
    """Something of ministack's behind a proxy; it checks no keys, so a stub refuses the wrong one.

    action: of the request's target, for the stub.
    """

    secrets = SECRETS
    action: ClassVar[str] = ""

    def __init__(self, server: Server, proxy: Proxy, stub: SqsStub) -> None:
        self.proxy = proxy
        self._server = server
        self._stub = stub
        self._name = f"conformance-{uuid.uuid4().hex}"
        self._got: list[Received] = []

    def _sink(self, name: str, delivery_timeout: float, **more: Any) -> Sink:
        raise NotImplementedError

    def _options(self, delivery_timeout: float, **more: Any) -> dict[str, Any]:
        assert self.proxy is not None
        return {
            "region": REGION,
            "endpoint_url": f"http://127.0.0.1:{self.proxy.port}",
            "credentials": Credentials("access", SECRETS[0]),
            "delivery_timeout": delivery_timeout,
            **more,
        }

    def open(self, delivery_timeout: float) -> Sink:
        return self._sink(self._name, delivery_timeout)

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return self._sink(self._name.replace("conformance", "missing"), delivery_timeout), ""

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        self._stub.fail_call(403, "InvalidSignatureException", action=self.action, times=0)
        wrong = Credentials("access", SECRETS[1])
        url = self._stub.endpoint_url
        return self._sink(self._name, delivery_timeout, endpoint_url=url, credentials=wrong)

    def _client(self, service: str) -> Any:
        make = cast("Callable[..., Any]", boto3.client)
        return make(
            service, endpoint_url=self._server.client().meta.endpoint_url, region_name=REGION,
            aws_access_key_id="access", aws_secret_access_key=SECRETS[0],
        )  # fmt: skip

    def _queue(self, fifo: bool = False) -> str:
        """A queue for what arrives; its ARN."""
        self._url = self._server.create_queue(self._name, fifo)
        found = self._server.client().get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["QueueArn"]
        )
        return found["Attributes"]["QueueArn"]

    def received(self) -> Sequence[Received]:
        queue = cast("Any", self._server.client())
        while messages := queue.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=0,
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        ).get("Messages"):  # fmt: skip
            self._got += map(self._as_received, messages)
            for message in messages:
                queue.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return self._got

    def _as_received(self, message: Any) -> Received:
        raise NotImplementedError


class SnsHarness(AwsHarness):
    """A FIFO topic: all that a standard one does, and order."""

    deduplicates = True
    lacks: ClassVar[Mapping[Capability, str]] = {
        "repeated headers": "attributes have unique names and no empty values",
        "any bytes": "SNS carries the characters of XML 1.0 only, and at least one of them",
        "tombstones": "SNS has no messages without a body",
    }

    def __init__(self, server: Server, proxy: Proxy, stub: SqsStub) -> None:
        super().__init__(server, proxy, stub)
        sns, queue = self._client("sns"), self._queue(fifo=True)
        made = sns.create_topic(Name=f"{self._name}.fifo", Attributes={"FifoTopic": "true"})
        raw = {"RawMessageDelivery": "true"}
        sns.subscribe(TopicArn=made["TopicArn"], Protocol="sqs", Endpoint=queue, Attributes=raw)

    def _sink(self, name: str, delivery_timeout: float, **more: Any) -> Sink:
        arn = f"arn:aws:sns:{REGION}:000000000000:{name}.fifo"
        return SnsSink(topic_arn=arn, **self._options(delivery_timeout, **more))

    def _as_received(self, message: Any) -> Received:
        headers = {
            name: value["StringValue"] for name, value in message["MessageAttributes"].items()
        }
        headers |= decode(headers.pop(OVERFLOW, "{}"))
        key = message["Attributes"].get("MessageGroupId")
        return Received(headers["ce_id"], message["Body"].encode(), key, tuple(headers.items()))

    def too_large(self) -> bytes:
        return b"x" * (256 * 1024 + 1)


class KinesisHarness(AwsHarness):
    action = "PutRecords"
    lacks: ClassVar[Mapping[Capability, str]] = {
        "repeated headers": "a CloudEvent's attributes have unique names",
    }

    def __init__(self, server: Server, proxy: Proxy, stub: SqsStub) -> None:
        super().__init__(server, proxy, stub)
        self._kinesis = self._client("kinesis")
        self._kinesis.create_stream(StreamName=self._name, ShardCount=1)
        self._kinesis.get_waiter("stream_exists").wait(
            StreamName=self._name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
        )
        [shard] = self._kinesis.list_shards(StreamName=self._name)["Shards"]
        self._at = self._kinesis.get_shard_iterator(
            StreamName=self._name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def _sink(self, name: str, delivery_timeout: float, **more: Any) -> Sink:
        return KinesisSink(stream_name=name, **self._options(delivery_timeout, **more))

    def received(self) -> Sequence[Received]:
        while answer := self._kinesis.get_records(ShardIterator=self._at, Limit=1000):
            self._at = answer["NextShardIterator"]
            if not answer["Records"]:
                break
            self._got += map(self._as_received, answer["Records"])
        return self._got

    def _as_received(self, message: Any) -> Received:
        event = decode(message["Data"])
        body = None
        if "data_base64" in event:
            body = b64decode(event.pop("data_base64"))
        elif "data" in event:
            event.pop("data")
            body = message["Data"].partition(b'"data":')[2][:-1]
        headers = {"ce_id" if name == "id" else name: value for name, value in event.items()}
        return Received(event["id"], body, message["PartitionKey"], tuple(headers.items()))

    def too_large(self) -> bytes:
        return b"[" + b" " * (1024 * 1024 - 1) + b"]"


class EventBridgeHarness(AwsHarness):
    destination = "test"
    action = "PutEvents"
    lacks: ClassVar[Mapping[Capability, str]] = {
        "order": "EventBridge keeps none",
        "keys": "events have no key",
        "repeated headers": "events have no headers",
        "any bytes": "the detail of an event is a JSON object",
        "tombstones": "the detail of an event is a JSON object",
        "destinations": "ministack takes events for a bus that is not there",
    }

    def __init__(self, server: Server, proxy: Proxy, stub: SqsStub) -> None:
        super().__init__(server, proxy, stub)
        events, queue = self._client("events"), self._queue()
        events.create_event_bus(Name=self._name)
        where = {"EventBusName": self._name}
        events.put_rule(Name=self._name, EventPattern='{"source":["suite"]}', **where)
        events.put_targets(Rule=self._name, Targets=[{"Id": "1", "Arn": queue}], **where)

    def _sink(self, name: str, delivery_timeout: float, **more: Any) -> Sink:
        options = self._options(delivery_timeout, **more)
        return EventBridgeSink(event_bus=name, source="suite", **options)

    def _as_received(self, message: Any) -> Received:
        event = decode(message["Body"])
        [id_] = event["resources"]
        return Received(id_, encode(event["detail"]), None, (("ce_id", id_),))

    def too_large(self) -> bytes:
        return b"{" + b" " * (1024 * 1024 - 2) + b"}"


@pytest.fixture
def between(sqs: Server) -> Iterator[Proxy]:
    address = urlsplit(sqs.client().meta.endpoint_url)
    assert address.port is not None
    with Proxy(address.port, address.hostname or "") as proxy:
        yield proxy


class TestSns(SinkConformance):
    @pytest.fixture
    def harness(self, sqs: Server, between: Proxy, sqs_stub: SqsStub) -> SinkHarness:
        return SnsHarness(sqs, between, sqs_stub)


class TestKinesis(SinkConformance):
    @pytest.fixture
    def harness(self, sqs: Server, between: Proxy, sqs_stub: SqsStub) -> SinkHarness:
        return KinesisHarness(sqs, between, sqs_stub)


class TestEventBridge(SinkConformance):
    @pytest.fixture
    def harness(self, sqs: Server, between: Proxy, sqs_stub: SqsStub) -> SinkHarness:
        return EventBridgeHarness(sqs, between, sqs_stub)

    def test_everything_of_a_message_arrives(self, trial: Trial) -> None:
        """Of its headers only what EventBridge has fields for, which tests/bridge looks at."""
        sent = trial.messages(2)
        trial.deliver_all(trial.open(), sent)
        got = {one.id: one.body for one in trial.came(ids(sent))}
        assert got == {message.id: message.body for message in sent}

    def test_text_arrives_byte_for_byte(self, trial: Trial) -> None:
        """EventBridge takes the detail apart: JSON objects arrive as what they say."""
        sink = trial.open()
        sent = trial.messages(len(TEXTS))
        for message, body in zip(sent, TEXTS, strict=True):
            sendable = type(message)(message.id, body, message.destination)
            [outcome] = trial.deliver(sink, [sendable])
            is_object = body.startswith(b"{")
            assert isinstance(outcome, Delivered) is is_object, outcome
            if is_object:
                [got] = [one for one in trial.came({message.id}) if one.id == message.id]
                assert decode(got.body or b"") == decode(body)
