"""Servers that somebody else runs, named by RIVERBRIDGE_TEST_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3

from riverbridge.embedded.broker import create_topic

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class GivenKafka:
    """The Kafka of RIVERBRIDGE_TEST_KAFKA (host:port); topics made in it stay."""

    flavour = "given"
    version = "?"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def create_topic(self, name: str, partitions: int = 1, within: float = 10.0) -> None:
        create_topic(self.bootstrap_servers, name, partitions, within)


class GivenSqs:
    """The SQS of RIVERBRIDGE_TEST_SQS_URL, an endpoint URL; queues made in it stay."""

    flavour = "given"
    version = "?"

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url

    def client(self) -> SQSClient:
        """A boto3 client with credentials that only an emulator takes."""
        return boto3.client(
            "sqs", endpoint_url=self.endpoint_url, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip

    def create_queue(
        self, name: str, fifo: bool = False, attributes: Mapping[str, str] | None = None
    ) -> str:
        wanted = dict(attributes or {})
        if fifo:
            wanted["FifoQueue"] = "true"
            name = name if name.endswith(".fifo") else f"{name}.fifo"
        created = self.client().create_queue(QueueName=name, Attributes=wanted)  # type: ignore[arg-type]
        return created["QueueUrl"]
