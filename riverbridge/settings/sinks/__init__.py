"""The kinds of sinks: ours, and those that installed packages bring."""

from riverbridge.settings.sinks.base import SinkSettings
from riverbridge.settings.sinks.file import FileSink
from riverbridge.settings.sinks.kafka import KafkaSink
from riverbridge.settings.sinks.kinds import FAILED, KINDS
from riverbridge.settings.sinks.sqs import SqsSink
from riverbridge.settings.sinks.webhook import WebhookSink

__all__ = ["FAILED", "KINDS", "FileSink", "KafkaSink", "SinkSettings", "SqsSink", "WebhookSink"]
