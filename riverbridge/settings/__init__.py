"""The settings: environment, `.env` and `riverbridge.toml` to frozen, typed models.

    reading (three layers) → loading (merge, validate) → rules (the whole) → Settings

Only `service.py` and the commands use this package; library classes take plain arguments.
"""

from riverbridge.settings.loading import load
from riverbridge.settings.models import Described, Route, Settings
from riverbridge.settings.sinks import KafkaSink, SinkSettings, SqsSink
from riverbridge.settings.sources import KafkaSource, SourceSettings

__all__ = [
    "Described",
    "KafkaSink",
    "KafkaSource",
    "Route",
    "Settings",
    "SinkSettings",
    "SourceSettings",
    "SqsSink",
    "load",
]
