"""From where the bodies are fetched that events only refer to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.parts import MINUTE, Boolean, Part
from riverbridge.settings.sinks.check import Found, unencrypted
from riverbridge.settings.values import Bytes, Names, Seconds, Text
from riverbridge.sources.base import Fetch as Get
from riverbridge.sources.places import Place


def _place(text: str) -> None:
    Place.of(text)


class Fetch(Part):
    """Where bodies may lie, and how large they may be."""

    places: Annotated[tuple[str, ...] | None, Names(Text(2048, _place), "places")] = Field(
        None,
        alias="from",
        description="Where the data of a CloudEvent (`dataref`) and the bodies of AWS's extended "
        "clients are fetched from, and nowhere else: buckets, and paths of https servers; by "
        "default none is fetched.",
        examples=["s3://shop-payloads/riverbridge/,https://files.shop.example/events/"],
    )
    limit: Annotated[int, Bytes(1, 1 << 28)] = Field(
        8 << 20, description="Bytes of a body; a larger one goes into quarantine."
    )
    timeout: Annotated[float, Seconds(0.1, MINUTE)] = Field(
        10.0, description="How long one body may take."
    )
    allow_private: Boolean = Field(
        False, description="Fetch from https servers with private and loopback addresses too."
    )
    ca_file: Annotated[str | None, Text(4096)] = Field(
        None, description="Authorities for https servers, as PEM; by default the system's."
    )
    region: Annotated[str | None, Text(64)] = Field(
        None, description="The buckets' region; by default the credential chain's."
    )
    endpoint_url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None,
        description="Another endpoint of S3 than AWS's own.",
        examples=["http://127.0.0.1:4566"],
    )

    def insecurities(self) -> Iterable[Found]:
        """What gives up transport security."""
        return unencrypted("endpoint_url", self.endpoint_url)

    def open(self) -> Get | None:
        """What fetches; None where nothing is fetched."""
        if not self.places:
            return None
        from riverbridge.sources.references import References

        return References(
            self.places,
            limit=self.limit,
            timeout=self.timeout,
            private=self.allow_private,
            ca_file=self.ca_file,
            region=self.region,
            endpoint_url=self.endpoint_url,
        ).get
