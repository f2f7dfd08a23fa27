"""Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from riverbridge.settings.parts import CONFIG, Boolean, Config, Servers, Template
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks.base import Found, SinkSettings, Stamp
from riverbridge.settings.sinks.check import within
from riverbridge.settings.sinks.large import Way
from riverbridge.settings.sinks.schema import Registry
from riverbridge.settings.values import Choice, Text
from riverbridge.sinks.base import Sink

_FALSE = ("false", "f", "0", "no", "off")


def insecure_properties(config: Mapping[str, str]) -> Iterable[Found]:
    """Which of librdkafka's properties give up transport security."""
    values = {name.lower(): value.strip().lower() for name, value in config.items()}
    if values.get("enable.ssl.certificate.verification") in _FALSE:
        yield "config", "enable.ssl.certificate.verification=false trusts any server"
    if values.get("ssl.endpoint.identification.algorithm") == "none":
        text = "ssl.endpoint.identification.algorithm=none trusts any server's certificate"
        yield "config", text


class KafkaSink(SinkSettings):
    """Deliver to a Kafka topic."""

    title: ClassVar[str] = "Kafka sinks"
    way: ClassVar[Way | None] = "bytes"

    type: Literal["kafka"] = Field(description="Selects this kind of sink.", examples=["kafka"])
    bootstrap_servers: Servers = Field(
        description="The brokers to ask first: host:port, comma-separated.",
        examples=["broker:9092"],
    )
    topic: Template = Field(
        description="The topic; may use the job, as in `jobs.{kind}`.", examples=["jobs.{kind}"]
    )
    partition: Annotated[str | None, Text(1024, kind="template")] = Field(
        None,
        description="The partition, a number; by default the key decides. A job for which there is "
        "no such partition is discarded.",
        examples=["{metadata.partition}"],
    )
    timestamp: Annotated[Stamp, Choice(*get_args(Stamp))] = Field(
        "now", description="The records' time: when it is sent, or an instant of the job's."
    )
    registry: Registry = Registry()  # type: ignore[call-arg]
    config: Config = Field(Pairs(), description=CONFIG, examples=['{"compression.type":"zstd"}'])
    msk_iam_region: Annotated[str | None, Text(64)] = Field(
        None,
        description="Sign in to Amazon MSK with IAM in this region; needs `riverbridge[msk]`.",
        examples=["eu-west-1"],
    )

    transactions: Boolean = Field(
        False,
        description="Send each batch in a Kafka transaction that also records it, so that after a "
        "crash the brokers are asked what arrived, and nothing is sent again that did.",
    )

    @property
    def ledger(self) -> bool:
        return self.transactions

    @property
    def destination(self) -> tuple[str, str]:
        return "topic", self.topic

    @property
    def stamp(self) -> Stamp:
        return self.timestamp

    @property
    def place(self) -> str | None:
        return self.partition

    @property
    def wants_bodies(self) -> str | None:
        return None if self.registry.url is None else "takes what is as its schema wants it only"

    def wants_order(self, keyed: bool) -> str | None:
        return "is Kafka and the route has a key" if keyed else None

    def problems(self) -> Iterable[Found]:
        from riverbridge.sinks.kafka_config import check_config

        for text in check_config(
            self.config,
            delivery_timeout=self.delivery_timeout,
            msk_iam_region=self.msk_iam_region,
            transactions=self.transactions,
        ):
            yield "config", text

        yield from within("registry", self.registry.problems(self.envelope))

    def insecurities(self) -> Iterable[Found]:
        yield from insecure_properties(self.config)
        yield from within("registry", self.registry.insecurities())

    def around(self, sink: Sink, name: str) -> Sink:
        # Outermost: what the schema is for is the job's body, and not what is made of a large one.
        return self.registry.around(super().around(sink, name), self.delivery_timeout)

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.kafka import KafkaSink as Kafka
        from riverbridge.sinks.kafka_transactions import KafkaTransactions

        kind = KafkaTransactions if self.transactions else Kafka
        return kind(
            bootstrap_servers=self.bootstrap_servers,
            config=self.config,
            delivery_timeout=self.delivery_timeout,
            client_id=f"riverbridge-{name}",
            msk_iam_region=self.msk_iam_region,
            receipts=receipts,
        )
