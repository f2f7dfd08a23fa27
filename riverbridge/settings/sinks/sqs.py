"""SQS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.parts import Boolean, Url
from riverbridge.settings.sinks.base import Found, SinkSettings, unencrypted
from riverbridge.settings.values import Text, Whole
from riverbridge.sinks.base import Sink


class SqsSink(SinkSettings):
    """Deliver to an SQS queue; one whose URL ends in `.fifo` is a FIFO queue."""

    title: ClassVar[str] = "SQS sinks"

    type: Literal["sqs"] = Field(description="Selects this kind of sink.", examples=["sqs"])
    queue_url: Url = Field(
        description="The queue's URL.",
        examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/billing.fifo"],
    )
    region: Annotated[str | None, Text(64)] = Field(
        None, description="The AWS region; by default the credential chain's."
    )
    endpoint_url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None, description="Another endpoint than AWS's own.", examples=["http://127.0.0.1:4566"]
    )
    threads: Annotated[int, Whole(1, 64)] = Field(
        8, description="How many requests are under way at once."
    )
    fair_queue: Boolean = Field(
        False,
        description="On a standard queue, send the route's key as the message group (fair queue).",
    )

    @property
    def fifo(self) -> bool:
        """Whether the queue is a FIFO queue, by its name."""
        return self.queue_url.endswith(".fifo")

    @property
    def wants_key(self) -> str | None:
        if self.fifo:
            return "is a FIFO queue and needs one as its message group"
        return (
            "is used as a fair queue and needs one as its message group"
            if self.fair_queue
            else None
        )

    def wants_order(self, keyed: bool) -> str | None:
        return "is a FIFO queue" if self.fifo else None

    def problems(self) -> Iterable[Found]:
        if self.fair_queue and self.fifo:
            yield "fair_queue", "is for standard queues, and this is a FIFO queue; unset it"

    def insecurities(self) -> Iterable[Found]:
        return unencrypted("endpoint_url", self.endpoint_url)

    def open(self, name: str) -> Sink:
        from riverbridge.sinks.sqs import SqsSink as Sqs

        return Sqs(
            queue_url=self.queue_url,
            region=self.region,
            endpoint_url=self.endpoint_url,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            fair_queue=self.fair_queue,
        )
