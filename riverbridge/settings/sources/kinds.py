"""Which kinds of sources there are."""

from __future__ import annotations

from importlib.metadata import entry_points

from riverbridge.settings.sinks.kinds import gather
from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.sources.kafka import KafkaSource
from riverbridge.settings.sources.postgres import JobsSource, PostgresSource
from riverbridge.settings.sources.sqs import SqsSource
from riverbridge.settings.sources.webhook import WebhookSource

GROUP = "riverbridge.sources"
"""The entry point group in which packages name their kinds."""

OURS: tuple[type[SourceSettings], ...] = (
    KafkaSource,
    SqsSource,
    WebhookSource,
    PostgresSource,
    JobsSource,
)

KINDS, FAILED = gather(entry_points(group=GROUP), SourceSettings, OURS)
"""The kinds of sources: ours, and those that installed packages bring."""
