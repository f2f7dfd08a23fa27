"""What the tables of the settings are made of: their base, and the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from riverbridge.settings import checks
from riverbridge.settings.values import Flag, Properties, Seconds, Text, Whole

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

Boolean = Annotated[bool, Flag()]
Template = Annotated[str, Text(1024, kind="template")]
Port = Annotated[int, Whole(0, 65535)]
Host = Annotated[str, Text(255, checks.host)]
Url = Annotated[str, Text(2048, checks.url, "URL")]
Servers = Annotated[str, Text(4096, checks.servers)]
Config = Annotated[Mapping[str, str], Properties(dotted=True)]
Keep = Annotated[float | None, Seconds(0, 3650 * DAY, keep=True)]

INSECURE = "Allow settings that give up transport security; each is warned about at every start."
CONFIG = (
    "Any librdkafka property. Single ones may be set by a variable each, with `_` for the dots: "
    "`…__CONFIG__SASL_PASSWORD`. Secrets are masked wherever it is shown."
)


class Part(BaseModel):
    """The base of every table: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
