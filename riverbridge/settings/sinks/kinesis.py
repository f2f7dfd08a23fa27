"""Kinesis."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings.sinks.aws import AwsSink, matching
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sinks.large import Way
from riverbridge.settings.values import Bytes, Choice, Text
from riverbridge.sinks.base import Sink

_NAME = matching(r"[a-zA-Z0-9_.-]{1,128}", "a stream name: letters, digits and `_.-`, at most 128")
_ARN = matching(
    r"arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128}",
    "a stream ARN, arn:aws:kinesis:region:account:stream/name",
)
_EXTENSION = re.compile(
    r"(?!(ce_)?(specversion|id|source|type|time|data|datacontenttype)$)(ce_)?[a-z0-9]+"
)


class KinesisSink(AwsSink):
    """Deliver to a Kinesis data stream."""

    title: ClassVar[str] = "Kinesis sinks"
    way: ClassVar[Way | None] = "record"

    type: Literal["kinesis"] = Field(description="Selects this kind of sink.", examples=["kinesis"])
    envelope: Annotated[
        Literal["cloudevents", "job", "raw"], Choice("cloudevents", "job", "raw")
    ] = Field(
        "cloudevents",
        description="What a record is: a CloudEvent in JSON (structured mode), the whole job, or "
        "the job's args alone.",
    )
    stream_name: Annotated[str | None, Text(128, _NAME)] = Field(
        None, description="The stream's name; this or the ARN.", examples=["orders"]
    )
    stream_arn: Annotated[str | None, Text(2048, _ARN)] = Field(
        None,
        description="The stream's ARN; this or the name.",
        examples=["arn:aws:kinesis:eu-west-1:123456789012:stream/orders"],
    )
    max_record_size: Annotated[int, Bytes(1024 * 1024, 10 * 1024 * 1024)] = Field(
        1024 * 1024, description="The stream's `MaxRecordSizeInKiB`."
    )

    def wants_order(self, keyed: bool) -> str | None:
        return "is Kinesis and the route has a key" if keyed else None

    def problems(self) -> Iterable[Found]:
        if (self.stream_name is None) == (self.stream_arn is None):
            yield "stream_name", "set either this or STREAM_ARN"
        if self.headers and self.envelope != "cloudevents":
            yield "headers", "records have no headers; unset it, or set ENVELOPE=cloudevents"
        for name in self.headers:
            if self.envelope == "cloudevents" and not _EXTENSION.fullmatch(name):
                text = (
                    "cannot be an extension attribute of a CloudEvent: use lower-case letters and"
                )
                yield "headers", f"{name[:80]!r} {text} digits, and no name that is its own"

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.kinesis import KinesisSink as Kinesis

        return Kinesis(
            stream_name=self.stream_name,
            stream_arn=self.stream_arn,
            region=self.region,
            endpoint_url=self.endpoint_url,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            receipts=receipts,
            cloud_event=self.envelope == "cloudevents",
            max_record_size=self.max_record_size,
        )
