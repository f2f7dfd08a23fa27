"""Files and standard output."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from riverbridge.settings.parts import Boolean
from riverbridge.settings.sinks.base import SinkSettings
from riverbridge.settings.values import Text
from riverbridge.sinks.base import Sink


class FileSink(SinkSettings):
    """Append to a file, or write to standard output, one JSON object a line."""

    title: ClassVar[str] = "File sinks"

    type: Literal["file"] = Field(description="Selects this kind of sink.", examples=["file"])
    path: Annotated[str, Text(4096, kind="path")] = Field(
        description="The file, or `-` for standard output.", examples=["/var/lib/app/jobs.jsonl"]
    )
    fsync: Boolean = Field(
        False, description="A message is delivered only when it is on the disk, not just written."
    )

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.file import FileSink as File

        return File(path=self.path, fsync=self.fsync, delivery_timeout=self.delivery_timeout)
