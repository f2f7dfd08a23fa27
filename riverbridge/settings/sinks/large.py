"""What becomes of messages that are larger than their receiver wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.parts import Part
from riverbridge.settings.sinks.check import Found, matching, unencrypted
from riverbridge.settings.values import Bytes, Choice, Text
from riverbridge.sinks.base import Sink

Policy = Literal["refuse", "compress", "claim-check"]
Way = Literal["text", "bytes", "record"]
"""What a kind of sink carries beside bodies, and so what it can do with large ones. `text`: text
and attributes, as AWS's extended clients do; `bytes`: bytes and headers; `record`: bytes alone."""

_POLICIES: dict[Way | None, tuple[Policy, ...]] = {
    None: ("refuse",),
    "text": ("refuse", "compress", "claim-check"),
    "bytes": ("refuse", "compress", "claim-check"),
    "record": ("refuse", "claim-check"),
}
_BUCKET = matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket")


class Large(Part):
    """What becomes of a message whose body is above a limit."""

    policy: Annotated[Policy, Choice("refuse", "compress", "claim-check")] = Field(
        "refuse",
        description="Leave it to the receiver, which refuses it for good if it is too large; "
        "compress it (gzip); or store its body in S3 and send a reference.",
    )
    limit: Annotated[int, Bytes(1, 1 << 30)] = Field(
        256 * 1024, description="Bytes of a body above which the policy applies."
    )
    bucket: Annotated[str | None, Text(63, _BUCKET)] = Field(
        None, description="The bucket, for claim-check.", examples=["shop-payloads"]
    )
    prefix: Annotated[str, Text(256)] = Field(
        "riverbridge/",
        description="What the objects' keys begin with; the sink's name and the event id follow.",
    )
    region: Annotated[str | None, Text(64)] = Field(
        None, description="The bucket's region; by default the credential chain's."
    )
    endpoint_url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None, description="Another endpoint than AWS's own.", examples=["http://127.0.0.1:4566"]
    )
    kms_key: Annotated[str | None, Text(2048)] = Field(
        None, description="Encrypt with this key of KMS; by default as the bucket does."
    )

    def problems(self, way: Way | None, envelope: str) -> Iterable[Found]:
        """What cannot work, for a kind of sink and its envelope."""
        if self.policy not in _POLICIES[way]:
            words = ", ".join(_POLICIES[way])
            yield "policy", f"{self.policy} is not for this type of sink, which has {words}"
        elif self.policy == "claim-check":
            if self.bucket is None:
                yield "bucket", "not set, and POLICY=claim-check needs it"
            if way != "text" and not envelope.startswith("cloudevents"):
                text = "claim-check refers to bodies as CloudEvents do; set ENVELOPE to one of them"
                yield "policy", f"{text}, as {envelope} has no place for that"
        elif self.bucket is not None:
            yield "bucket", f"has no effect with POLICY={self.policy}; set claim-check"

    def insecurities(self) -> Iterable[Found]:
        """What gives up transport security."""
        return unencrypted("endpoint_url", self.endpoint_url)

    def around(self, sink: Sink, name: str, way: Way | None, delivery_timeout: float) -> Sink:
        """`sink`, with the policy applied before it."""
        if self.policy == "refuse":
            return sink
        from riverbridge.sinks.large import claiming, compressing, dataref, pointer
        from riverbridge.sinks.packed import PackedSink

        if self.policy == "compress":
            return PackedSink(sink, self.limit, compressing(text=way == "text"))
        from riverbridge.sinks.claims import Claims

        assert self.bucket is not None  # `problems` has seen to it
        claims = Claims(
            self.bucket,
            f"{self.prefix}{name}/",
            region=self.region,
            endpoint_url=self.endpoint_url,
            kms_key=self.kms_key,
            timeout=delivery_timeout / 2,
        )
        pack = claiming(claims, pointer if way == "text" else dataref)
        return PackedSink(sink, self.limit, pack, claims.close)


class OwnLarge(Part):
    """What a route says of it in place of the sink."""

    policy: Annotated[Policy | None, Choice("refuse", "compress", "claim-check")] = Field(
        None, description="Another policy than the sink's."
    )
    limit: Annotated[int | None, Bytes(1, 1 << 30)] = Field(
        None, description="Another limit than the sink's."
    )
    bucket: Annotated[str | None, Text(63, _BUCKET)] = Field(
        None, description="Another bucket than the sink's.", examples=["shop-orders"]
    )
    prefix: Annotated[str | None, Text(256)] = Field(
        None, description="Another prefix than the sink's.", examples=["orders/"]
    )

    @property
    def given(self) -> dict[str, object]:
        """What differs."""
        return {name: value for name, value in self if value is not None}

    def over(self, large: Large) -> Large:
        """The sink's settings as they are for the route."""
        return large.model_copy(update=self.given)
