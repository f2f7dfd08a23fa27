"""SNS."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings.sinks.aws import AwsSink, matching
from riverbridge.settings.sinks.large import Way
from riverbridge.settings.values import Bytes, Text
from riverbridge.sinks.base import Sink

_TOPIC = matching(
    r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?",
    "a topic ARN, arn:aws:sns:region:account:name",
)


class SnsSink(AwsSink):
    """Deliver to an SNS topic; one whose name ends in `.fifo` is a FIFO topic."""

    title: ClassVar[str] = "SNS sinks"
    way: ClassVar[Way | None] = "text"

    type: Literal["sns"] = Field(description="Selects this kind of sink.", examples=["sns"])
    topic_arn: Annotated[str, Text(512, _TOPIC)] = Field(
        description="The topic's ARN.",
        examples=["arn:aws:sns:eu-west-1:123456789012:orders.fifo"],
    )
    max_message_size: Annotated[int, Bytes(1024, 1024 * 1024)] = Field(
        256 * 1024,
        description="The topic's `MaximumMessageSize`, for a message and for a request.",
    )

    @property
    def fifo(self) -> bool:
        """Whether the topic is a FIFO topic, by its name."""
        return self.topic_arn.endswith(".fifo")

    @property
    def wants_key(self) -> str | None:
        return "is a FIFO topic and needs one as its message group" if self.fifo else None

    def wants_order(self, keyed: bool) -> str | None:
        return "is a FIFO topic" if self.fifo else None

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.sns import SnsSink as Sns

        return Sns(
            topic_arn=self.topic_arn,
            region=self.region,
            endpoint_url=self.endpoint_url,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            receipts=receipts,
            max_message_size=self.max_message_size,
        )
