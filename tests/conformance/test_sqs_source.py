"""The SQS source does what every source has to do, on a standard queue and on a FIFO queue."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import count
from typing import ClassVar

import pytest
from botocore.credentials import Credentials

from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.sources.base import Positioned, Source
from riverbridge.sources.sqs import SqsSource
from riverbridge.testing.source_conformance import SOURCE, SourceConformance
from riverbridge.testing.source_harness import SourceHarness
from tests.support.database import Database
from tests.support.given import GivenSqs


class SqsHarness(SourceHarness):
    fifo: ClassVar[bool] = False

    def __init__(self, server: SqsServer | GivenSqs, database: Database) -> None:
        self.dsn = database.dsn
        self._server = server
        self._queue = server.create_queue(f"source-{uuid.uuid4().hex}", self.fifo)
        self._numbers = count()

    def open(self) -> Source:
        source = SqsSource(
            name=SOURCE,
            queue_url=self._queue,
            region=REGION,
            endpoint_url=self._server.endpoint_url,
            credentials=Credentials("test", "test"),
            wait=0,  # else messages go to requests of those who have ended
            hidden=2,
        )
        assert not isinstance(source, Positioned)
        return source

    def send(self, bodies: Sequence[bytes]) -> None:
        client = self._server.client()
        for body in bodies:
            group = {"MessageGroupId": "g", "MessageDeduplicationId": str(next(self._numbers))}
            client.send_message(
                QueueUrl=self._queue,
                MessageBody=body.decode(),
                **(group if self.fifo else {}),  # type: ignore[arg-type]
            )

    def carries(self, body: bytes) -> bool:
        """SQS has no empty bodies, and none that are no text."""
        return body.isascii() and b"\0" not in body and body != b""


class FifoHarness(SqsHarness):
    fifo = True


class TestStandard(SourceConformance):
    @pytest.fixture
    def harness(self, sqs: SqsServer | GivenSqs, tables: Database) -> SourceHarness:
        return SqsHarness(sqs, tables)


class TestFifo(SourceConformance):
    @pytest.fixture
    def harness(self, sqs: SqsServer | GivenSqs, tables: Database) -> SourceHarness:
        return FifoHarness(sqs, tables)
