"""What all sinks on AWS have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from riverbridge.settings import checks
from riverbridge.settings.sinks.base import SinkSettings
from riverbridge.settings.sinks.check import Found, matching, unencrypted
from riverbridge.settings.values import Text, Whole

__all__ = ["AwsSink", "matching"]


class AwsSink(SinkSettings):
    """A kind of sink that sends batches to an AWS service."""

    region: Annotated[str | None, Text(64)] = Field(
        None,
        description="The AWS region; by default the destination's, else the credential chain's.",
    )
    endpoint_url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None, description="Another endpoint than AWS's own.", examples=["http://127.0.0.1:4566"]
    )
    threads: Annotated[int, Whole(1, 64)] = Field(
        8, description="How many requests are under way at once."
    )

    def insecurities(self) -> Iterable[Found]:
        return unencrypted("endpoint_url", self.endpoint_url)
