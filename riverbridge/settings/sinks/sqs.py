"""SQS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from riverbridge.settings.parts import Boolean, Url
from riverbridge.settings.sinks.aws import AwsSink
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sinks.large import Way
from riverbridge.sinks.base import Sink


class SqsSink(AwsSink):
    """Deliver to an SQS queue; one whose URL ends in `.fifo` is a FIFO queue."""

    title: ClassVar[str] = "SQS sinks"
    way: ClassVar[Way | None] = "text"

    type: Literal["sqs"] = Field(description="Selects this kind of sink.", examples=["sqs"])
    queue_url: Url = Field(
        description="The queue's URL.",
        examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/billing.fifo"],
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

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.sqs import SqsSink as Sqs

        return Sqs(
            queue_url=self.queue_url,
            region=self.region,
            endpoint_url=self.endpoint_url,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            fair_queue=self.fair_queue,
            receipts=receipts,
        )
