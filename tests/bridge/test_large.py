"""Large messages: compressed, or kept in S3, and read back as receivers would."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.sqs import SqsServer
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.service.wiring import make_outlets, open_sinks
from riverbridge.sinks.base import Message, Sink
from riverbridge.sinks.claims import Claims
from riverbridge.sinks.large import claiming, compressing, dataref, pointer
from riverbridge.sinks.packed import PackedSink
from tests.support.bridge import ScriptedSink
from tests.support.database import new_name
from tests.support.given import GivenKafka, GivenSqs
from tests.support.records import header, read_until
from tests.unit.settings_cases import read

ROOT = Path(__file__).parents[2]
Server = SqsServer | GivenSqs
ACCESS: dict[str, Any] = {
    "region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test",
}  # fmt: skip
LARGE = json.dumps({"n": 1.10, "text": "é" * 5000}, ensure_ascii=False).encode()
SMALL = b'{"n": 2}'


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


class Store:
    """A bucket of its own on the server."""

    def __init__(self, server: Server) -> None:
        self.url = server.endpoint_url
        self.client: Any = boto3.client("s3", endpoint_url=server.endpoint_url, **ACCESS)
        self.bucket = f"payloads-{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=self.bucket)

    def objects(self) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {one["Key"]: self.read(one["Key"]) for one in found}

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


@pytest.fixture
def store(sqs: Server) -> Store:
    return Store(sqs)


@pytest.fixture
def opened(store: Store) -> Iterator[Callable[..., Sink]]:
    """Opens a sink as the service does, from settings."""
    sinks: list[Sink] = []

    def make(**settings: str) -> Sink:
        env = {f"RIVERBRIDGE_SINKS__OUT__{name}": value for name, value in settings.items()}
        env |= {
            "RIVERBRIDGE_ROUTES__OUT__QUEUES": "q",
            "RIVERBRIDGE_ROUTES__OUT__KEY": "{args.n}",
            "RIVERBRIDGE_ROUTES__OUT__ORDERED": "false",
            "RIVERBRIDGE_SINKS__OUT__LARGE__LIMIT": "1KiB",
            "RIVERBRIDGE_SINKS__OUT__LARGE__POLICY": settings.get("LARGE__POLICY", "claim-check"),
        }
        if "LARGE__POLICY" not in settings:
            env["RIVERBRIDGE_SINKS__OUT__LARGE__BUCKET"] = store.bucket
            env["RIVERBRIDGE_SINKS__OUT__LARGE__ENDPOINT_URL"] = store.url
        sinks.append(open_sinks(read(env))["out"].sink)
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def send(sink: Sink, messages: Sequence[Message], within: float = 10.0) -> list[Outcome]:
    began = time.monotonic()
    outcomes = list(sink.deliver(messages, began + within))
    assert time.monotonic() - began < within + 0.3
    assert len(outcomes) == len(messages)
    return outcomes


def test_a_route_has_its_own_way_with_large_messages(sqs: Server, store: Store) -> None:
    url = sqs.create_queue(new_name("large"))
    env = {
        "SINKS__OUT__TYPE": "sqs",
        "SINKS__OUT__QUEUE_URL": url,
        "SINKS__OUT__ENDPOINT_URL": store.url,
        "SINKS__OUT__REGION": "us-east-1",
        "SINKS__OUT__LARGE__LIMIT": "1KiB",
        "SINKS__OUT__LARGE__BUCKET": store.bucket,
        "SINKS__OUT__LARGE__ENDPOINT_URL": store.url,
        "ROUTES__PLAIN__QUEUES": "plain",
        "ROUTES__KEPT__QUEUES": "kept",
        "ROUTES__KEPT__OVERRIDES__OUT__LARGE__POLICY": "claim-check",
        "ROUTES__KEPT__OVERRIDES__OUT__LARGE__PREFIX": "kept/",
    }
    settings = read({f"RIVERBRIDGE_{name}": value for name, value in env.items()})
    outlet = make_outlets(settings, open_sinks(settings))["out"]
    try:
        assert [type(one) for one in send(outlet.way("plain"), [Message("a:1", LARGE)])] == [
            Delivered
        ]
        assert store.objects() == {}
        assert [type(one) for one in send(outlet.way("kept"), [Message("a:2", LARGE)])] == [
            Delivered
        ]
        assert store.objects() == {"kept/out/a:2": LARGE}
    finally:
        outlet.close()
    assert [type(one) for one in send(outlet.way("kept"), [Message("a:3", SMALL)])] != [Delivered]


@pytest.mark.parametrize("fifo", [False, True])
def test_awss_extended_client_reads_what_goes_to_sqs(
    sqs: Server, store: Store, opened: Callable[..., Sink], fifo: bool
) -> None:
    url = sqs.create_queue(new_name("large"), fifo)
    sink = opened(TYPE="sqs", QUEUE_URL=url, ENDPOINT_URL=store.url, REGION="us-east-1")
    headers = tuple((f"h{n}", "v") for n in range(12))
    sent = [
        Message(f"shop:1/é.{n}", body, key="k" if fifo else None, headers=headers)
        for n, body in enumerate((SMALL, LARGE))
    ]
    for _ in range(2):  # a retry overwrites what the first attempt left
        assert [type(one) for one in send(sink, sent)] == [Delivered, Delivered]
        assert store.objects() == {"riverbridge/out/shop:1%2F%C3%A9%2E1": LARGE}
    # On a FIFO queue the second attempt is a repeat.
    args = [store.url, url, store.bucket, "2" if fifo else "4"]
    read = subprocess.run(
        [sys.executable, "-m", "tests.support.extended_client", *args],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    found = [json.loads(line) for line in read.stdout.splitlines()]
    assert {one["body"] for one in found} == {SMALL.decode(), LARGE.decode()}
    assert all("headers" in one["names"] for one in found)


def test_the_reference_is_spelled_as_aws_has_it(
    sqs: Server, store: Store, opened: Callable[..., Sink]
) -> None:
    url = sqs.create_queue(new_name("large"))
    arn = sqs.client().get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sns: Any = boto3.client("sns", endpoint_url=store.url, **ACCESS)
    topic = sns.create_topic(Name=new_name("large"))["TopicArn"]
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )  # fmt: skip
    sink = opened(TYPE="sns", TOPIC_ARN=topic, ENDPOINT_URL=store.url)
    assert [type(one) for one in send(sink, [Message("a:1", LARGE)])] == [Delivered]
    [message] = sqs.client().receive_message(
        QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]
    assert json.loads(message["Body"]) == [
        "software.amazon.payloadoffloading.PayloadS3Pointer",
        {"s3BucketName": store.bucket, "s3Key": "riverbridge/out/a:1"},
    ]
    size = message["MessageAttributes"]["ExtendedPayloadSize"]
    assert (size["DataType"], size["StringValue"]) == ("Number", str(len(LARGE)))
    assert store.objects() == {"riverbridge/out/a:1": LARGE}


def test_cloudevents_refer_to_their_data(
    kafka: Broker | GivenKafka, store: Store, opened: Callable[..., Sink]
) -> None:
    topic = new_name("large")
    kafka.create_topic(topic)
    sink = opened(TYPE="kafka", BOOTSTRAP_SERVERS=kafka.bootstrap_servers, TOPIC=topic)
    structured = (("content-type", "application/cloudevents+json; charset=UTF-8"),)
    event = b'{"id":"a:2","data":' + LARGE + b"}"
    sent = [
        Message("a:1", LARGE, topic, headers=(("ce_id", "a:1"),)),
        Message("a:2", event, topic, headers=structured),
        Message("a:3", SMALL, topic),
        Message("a:4", None, topic),
    ]
    assert [type(one) for one in send(sink, sent)] == [Delivered] * 4
    found = read_until(kafka.bootstrap_servers, topic, lambda got: len(got) >= 4)
    uri = f"s3://{store.bucket}/riverbridge/out/a:"
    assert [record.value() for record in found] == [
        b"",
        json.dumps({"id": "a:2", "dataref": f"{uri}2"}, separators=(",", ":")).encode(),
        SMALL,
        None,
    ]
    assert header(found[0], "ce_dataref") == f"{uri}1"
    assert store.objects() == {"riverbridge/out/a:1": LARGE, "riverbridge/out/a:2": LARGE}


def test_a_kinesis_record_refers_to_its_data(
    sqs: Server, store: Store, opened: Callable[..., Sink]
) -> None:
    kinesis: Any = boto3.client("kinesis", endpoint_url=store.url, **ACCESS)
    name = new_name("large")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    sink = opened(TYPE="kinesis", STREAM_NAME=name, ENDPOINT_URL=store.url)
    assert [type(one) for one in send(sink, [Message("a:1", LARGE, headers=(("ce_id", "a:1"),))])]
    [shard] = kinesis.list_shards(StreamName=name)["Shards"]
    start = kinesis.get_shard_iterator(
        StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    [record] = kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]
    uri = f"s3://{store.bucket}/riverbridge/out/a:1"
    assert json.loads(record["Data"]) == {"id": "a:1", "dataref": uri}


def test_what_is_compressed_for_sqs_is_text(
    sqs: Server, store: Store, opened: Callable[..., Sink]
) -> None:
    url = sqs.create_queue(new_name("large"))
    sink = opened(TYPE="sqs", QUEUE_URL=url, ENDPOINT_URL=store.url, LARGE__POLICY="compress")
    assert [type(one) for one in send(sink, [Message("a:1", LARGE)])] == [Delivered]
    [message] = sqs.client().receive_message(
        QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]
    attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
    assert attributes == {"content-encoding": "gzip", "content-transfer-encoding": "base64"}
    assert gzip.decompress(b64decode(message["Body"])) == LARGE


def test_only_what_is_large_and_becomes_smaller_is_compressed() -> None:
    inner = ScriptedSink()
    sink = PackedSink(inner, 20, compressing(text=False))
    random = bytes(range(256))
    sent = [Message("1", b"x" * 20), Message("2", b"x" * 1000), Message("3", random)]
    for _ in range(2):
        send(sink, [*sent, Message("4", None)])
    assert [message.body for _, message in inner.received[4:]] == [
        message.body for _, message in inner.received[:4]
    ]
    one, two, three, four = [message for _, message in inner.received[:4]]
    assert (one, three, four) == (sent[0], sent[2], Message("4", None))
    assert gzip.decompress(two.body or b"") == b"x" * 1000
    assert two.headers == (("content-encoding", "gzip"),)


def claim_sink(inner: Sink, bucket: str, url: str, **more: Any) -> PackedSink:
    claims = Claims(bucket, "p/", endpoint_url=url, timeout=more.pop("timeout", 5.0), **more)
    return PackedSink(inner, 100, claiming(claims, pointer), claims.close)


def test_a_bucket_that_is_not_there_stops_the_sink(store: Store) -> None:
    inner = ScriptedSink()
    sink = claim_sink(inner, "no-such-bucket", store.url)
    small, large = send(sink, [Message("1", SMALL), Message("2", LARGE)])
    assert small == Delivered()
    assert isinstance(large, Misconfigured)
    assert "404 NoSuchBucket" in large.error
    sink.close()


def test_an_s3_that_is_not_there_spends_no_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        mute = f"http://127.0.0.1:{server.getsockname()[1]}"
        sink = claim_sink(ScriptedSink(), "b", mute, timeout=30.0)
        [outcome] = send(sink, [Message("2", LARGE)], within=1.0)
        assert outcome == Unreachable("S3 did not answer before the deadline")
        sink.close()
    sink = claim_sink(ScriptedSink(), "b", mute)
    [outcome] = send(sink, [Message("2", LARGE)])
    assert isinstance(outcome, Unreachable)
    assert "S3 does not answer" in outcome.error
    sink.close()
    assert isinstance(send(sink, [Message("2", LARGE)])[0], Unreachable)


def test_credentials_that_are_missing_stop_the_sink(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    sink = claim_sink(ScriptedSink(), store.bucket, store.url)
    [outcome] = send(sink, [Message("2", LARGE)])
    assert isinstance(outcome, Misconfigured)
    assert "credentials" in outcome.error
    sink.close()


@pytest.mark.parametrize(
    ("answer", "follower"),
    [
        (Permanent("no"), Delivered()),
        (Unreachable("down"), Unreachable("down")),
        (Snoozed(0), Retry("an earlier message of its group failed")),
    ],
    ids=str,
)
def test_what_cannot_be_stored_holds_its_key_and_no_other(
    answer: Outcome, follower: Outcome
) -> None:
    inner = ScriptedSink()
    sink = PackedSink(inner, 100, lambda messages, deadline: [answer] * len(messages))
    sent = [
        Message("1", SMALL, key="a"),
        Message("2", LARGE, key="a"),
        Message("3", SMALL, key="a"),
        Message("4", SMALL, key="b"),
        Message("5", LARGE),
        Message("6", SMALL),
    ]
    outcomes = send(sink, sent)
    assert outcomes == [Delivered(), answer, follower, Delivered(), answer, Delivered()]
    sent_on = [message.id for _, message in inner.received]
    assert [id_ for id_ in sent_on if id_ != "3"] == ["1", "4", "6"]


def test_different_ids_have_different_keys() -> None:
    claims = Claims("b", "p/", endpoint_url="http://127.0.0.1:9")
    ids = ["a", "a/b", "a.b", "a%2Eb", "a%2Fb", "..", "a b", "é", "A"]
    keys = [claims.key(id_) for id_ in ids]
    assert len(set(keys)) == len(ids)
    assert all(key.startswith("p/") and "/" not in key[2:] and "." not in key for key in keys)
    with pytest.raises(ValueError, match="S3 takes 1024"):
        claims.key("é" * 300)
    claims.close()


def test_a_dataref_needs_nothing_but_headers() -> None:
    message = dataref(Message("1", LARGE, headers=(("ce_id", "1"),)), "b", "k")
    assert message.headers == (("ce_id", "1"), ("ce_dataref", "s3://b/k"))
