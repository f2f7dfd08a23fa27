"""Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.parts import CONFIG, Config, Servers
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sinks.kafka import insecure_properties
from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.values import Choice, Names, Text
from riverbridge.sources.base import Source


class KafkaSource(SourceSettings):
    """Turn the records of Kafka topics into jobs."""

    title: ClassVar[str] = "Kafka sources"
    positioned: ClassVar[bool] = True

    type: Literal["kafka"] = Field(description="Selects this kind of source.", examples=["kafka"])
    bootstrap_servers: Servers = Field(
        description="The brokers to ask first: host:port, comma-separated.",
        examples=["broker:9092"],
    )
    topics: Annotated[tuple[str, ...], Names(Text(249, checks.topic_name), "topics")] = Field(
        description="The topics to read.", examples=["signups"]
    )
    group: Annotated[str | None, Text(249)] = Field(
        None,
        description="The consumer group that deals out the partitions; by default "
        "`riverbridge-<NAME>`.",
        examples=["shop-signups"],
    )
    start: Annotated[Literal["earliest", "latest"], Choice("earliest", "latest")] = Field(
        "earliest", description="Where to begin with topics that were never read."
    )
    on_gap: Annotated[
        Literal["stop", "earliest", "latest"], Choice("stop", "earliest", "latest")
    ] = Field(
        "stop",
        description="What to do where the brokers do not have the position any more: stop the "
        "partition and say so, or go on at the first or behind the last record there is.",
    )
    config: Config = Field(Pairs(), description=CONFIG)
    msk_iam_region: Annotated[str | None, Text(64)] = Field(
        None,
        description="Sign in to Amazon MSK with IAM in this region; needs `riverbridge[msk]`.",
        examples=["eu-west-1"],
    )

    def problems(self) -> Iterable[Found]:
        from riverbridge.sources.kafka_config import check_config

        for text in check_config(self.config, msk_iam_region=self.msk_iam_region):
            yield "config", text

    def insecurities(self) -> Iterable[Found]:
        return insecure_properties(self.config)

    def open(self, name: str) -> Source:
        from riverbridge.sources.kafka import KafkaSource as Kafka

        return Kafka(
            name=name,
            bootstrap_servers=self.bootstrap_servers,
            topics=self.topics,
            group=self.group or f"riverbridge-{name}",
            start=self.start,
            on_gap=self.on_gap,
            config=self.config,
            client_id=f"riverbridge-{name}",
            msk_iam_region=self.msk_iam_region,
        )
