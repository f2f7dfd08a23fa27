"""SQS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.parts import HOUR, Url
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sinks.check import matching, unencrypted
from riverbridge.settings.sources.base import SourceSettings, Wrapping
from riverbridge.settings.values import Names, Seconds, Text, Whole
from riverbridge.sources.base import Source


class SqsSource(SourceSettings):
    """Turn the messages of an SQS queue, standard or FIFO, into jobs."""

    title: ClassVar[str] = "SQS sources"

    type: Literal["sqs"] = Field(description="Selects this kind of source.", examples=["sqs"])
    queue_url: Url = Field(
        description="The queue's URL.",
        examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/signups"],
    )
    region: Annotated[str | None, Text(64)] = Field(
        None, description="The AWS region; by default the URL's, else the credential chain's."
    )
    endpoint_url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None, description="Another endpoint than AWS's own.", examples=["http://127.0.0.1:4566"]
    )
    receivers: Annotated[int, Whole(1, 64)] = Field(
        4,
        description="How many requests for messages are under way at once where there are many; "
        "where there are none it is one.",
    )
    wait: Annotated[float, Seconds(1, 20)] = Field(
        20.0, description="How long a request waits for messages (long polling), in whole seconds."
    )
    visibility: Annotated[float, Seconds(10, 12 * HOUR)] = Field(
        60.0,
        description="How long a message is hidden from others at a time, in whole seconds. It is "
        "hidden anew for as long as it is held; after a crash it comes again when this is over.",
    )
    max_receives: Annotated[int | None, Whole(1, 1000)] = Field(
        None,
        description="A message that was received more often goes into quarantine; by default never "
        "for that reason.",
    )

    unwrap: Annotated[
        tuple[Wrapping, ...] | None,
        Names(Text(16, matching("sns|eventbridge|s3", "sns, eventbridge or s3")), "envelopes"),
    ] = Field(
        None,
        description="Envelopes that are taken off where a message has them: SNS's, EventBridge's, "
        "and S3's notifications, each record of which is an event.",
        examples=["sns,s3"],
    )

    @property
    def envelopes(self) -> Sequence[Wrapping]:
        return self.unwrap or ()

    def insecurities(self) -> Iterable[Found]:
        yield from unencrypted("queue_url", self.queue_url if not self.endpoint_url else None)
        yield from unencrypted("endpoint_url", self.endpoint_url)

    def open(self, name: str) -> Source:
        from riverbridge.sources.sqs import SqsSource as Sqs

        return Sqs(
            name=name,
            queue_url=self.queue_url,
            region=self.region,
            endpoint_url=self.endpoint_url,
            receivers=self.receivers,
            wait=ceil(self.wait),
            hidden=ceil(self.visibility),
            max_receives=self.max_receives,
        )
