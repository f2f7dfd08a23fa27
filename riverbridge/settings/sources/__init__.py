"""The settings of sources: one class a kind."""

from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.sources.kafka import KafkaSource
from riverbridge.settings.sources.kinds import FAILED, KINDS
from riverbridge.settings.sources.sqs import SqsSource
from riverbridge.settings.sources.webhook import WebhookSource

__all__ = ["FAILED", "KINDS", "KafkaSource", "SourceSettings", "SqsSource", "WebhookSource"]
