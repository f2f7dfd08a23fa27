"""The SQS sink does what every sink has to do, on a standard queue and on a FIFO queue."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials
from msgspec.json import decode

from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.sinks.aws_text import OVERFLOW
from riverbridge.sinks.base import Sink
from riverbridge.sinks.sqs import SqsSink
from riverbridge.testing.conformance import SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness
from riverbridge.testing.proxy import Proxy
from tests.support.given import GivenSqs
from tests.support.sqs_stub import SqsStub

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LIMIT = 16384
SECRETS = ("s3cret-of-the-suite", "wr0ng-in-the-suite")
LACKS: dict[Capability, str] = {
    "repeated headers": "attributes have unique names and no empty values",
    "any bytes": "SQS carries the characters of XML 1.0 only, and at least one of them",
    "tombstones": "SQS has no messages without a body",
}


class SqsHarness(SinkHarness):
    """A queue of ministack's behind a proxy; it checks no keys, so a stub refuses the wrong one."""

    fifo: ClassVar[bool] = False
    lacks: ClassVar[Mapping[Capability, str]] = LACKS | {
        "order": "a standard queue keeps none",
        "keys": "a standard queue has no message groups",
    }
    secrets = SECRETS

    def __init__(self, server: SqsServer | GivenSqs, proxy: Proxy, stub: SqsStub) -> None:
        self.proxy = proxy
        self._stub = stub
        self._client = server.client()
        self._name = f"conformance-{uuid.uuid4().hex}"
        limit = {"MaximumMessageSize": str(LIMIT)}
        self._queue = server.create_queue(self._name, self.fifo, limit)
        self._got: list[Received] = []

    def open(self, delivery_timeout: float) -> Sink:
        return self._sink(self._queue, delivery_timeout)

    def _sink(self, queue: str, delivery_timeout: float, endpoint: str | None = None) -> Sink:
        assert self.proxy is not None
        return SqsSink(
            queue_url=queue,
            region=REGION,
            endpoint_url=endpoint or f"http://127.0.0.1:{self.proxy.port}",
            credentials=Credentials("access", SECRETS[0] if endpoint is None else SECRETS[1]),
            delivery_timeout=delivery_timeout,
        )

    def received(self) -> Sequence[Received]:
        while messages := self._client.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0,
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        ).get("Messages"):  # fmt: skip
            self._got += map(self._as_received, messages)
            entries = [
                {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                for n, message in enumerate(messages)
            ]
            self._client.delete_message_batch(QueueUrl=self._queue, Entries=entries)  # type: ignore[arg-type]
        return self._got

    def _as_received(self, message: MessageTypeDef) -> Received:
        headers = {
            name: value["StringValue"] for name, value in message["MessageAttributes"].items()
        }
        headers |= decode(headers.pop(OVERFLOW, "{}"))
        key = message["Attributes"].get("MessageGroupId")
        return Received(headers["ce_id"], message["Body"].encode(), key, tuple(headers.items()))

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        self._stub.fail_call(403, "InvalidSignatureException", times=0)
        queue = self._stub.queue_url(self._name + ".fifo" * self.fifo)
        return self._sink(queue, delivery_timeout, self._stub.endpoint_url)

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return self._sink(self._queue.replace("conformance-", "missing-"), delivery_timeout), ""

    def too_large(self) -> bytes:
        return b"x" * (LIMIT + 1)


class FifoHarness(SqsHarness):
    fifo = True
    deduplicates = True
    lacks = LACKS


@pytest.fixture
def between(sqs: SqsServer | GivenSqs) -> Iterator[Proxy]:
    address = urlsplit(sqs.client().meta.endpoint_url)
    assert address.port is not None
    with Proxy(address.port, address.hostname or "") as proxy:
        yield proxy


class TestStandard(SinkConformance):
    @pytest.fixture
    def harness(self, sqs: SqsServer | GivenSqs, between: Proxy, sqs_stub: SqsStub) -> SinkHarness:
        return SqsHarness(sqs, between, sqs_stub)


class TestFifo(SinkConformance):
    @pytest.fixture
    def harness(self, sqs: SqsServer | GivenSqs, between: Proxy, sqs_stub: SqsStub) -> SinkHarness:
        return FifoHarness(sqs, between, sqs_stub)
