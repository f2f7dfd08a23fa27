"""EventBridge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings.parts import Template
from riverbridge.settings.sinks.aws import AwsSink, matching
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.values import Choice, Text
from riverbridge.sinks.base import Sink

_BUS = matching(
    r"(arn:aws[\w-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[.\-_A-Za-z0-9/]+",
    "the name or the ARN of an event bus",
)
_SOURCE = matching(r"(?!aws\.).+", "a source: those of AWS itself begin with `aws.`")


class EventBridgeSink(AwsSink):
    """Deliver to an EventBridge event bus."""

    title: ClassVar[str] = "EventBridge sinks"

    type: Literal["eventbridge"] = Field(
        description="Selects this kind of sink.", examples=["eventbridge"]
    )
    envelope: Annotated[Literal["cloudevents"], Choice("cloudevents")] = Field(
        "cloudevents",
        description="A CloudEvent in EventBridge's own fields, with the job's args as the detail.",
    )
    event_bus: Annotated[str, Text(1600, _BUS)] = Field(
        "default", description="The event bus: its name or ARN.", examples=["orders"]
    )
    source: Annotated[str | None, Text(256, _SOURCE)] = Field(
        None,
        description="The events' source, which rules match on; by default the CloudEvent's.",
        examples=["com.example.shop"],
    )
    detail_type: Template = Field(
        "{kind}", description="The events' detail type; may use the job.", examples=["{kind}"]
    )

    @property
    def destination(self) -> tuple[str, str]:
        return "detail_type", self.detail_type

    def problems(self) -> Iterable[Found]:
        if self.headers:
            yield "headers", "events of EventBridge have no headers; unset it"
        if self.content_type:
            yield "content_type", "events of EventBridge are JSON; unset it"

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.eventbridge import EventBridgeSink as EventBridge

        return EventBridge(
            event_bus=self.event_bus,
            source=self.source,
            region=self.region,
            endpoint_url=self.endpoint_url,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            receipts=receipts,
        )
