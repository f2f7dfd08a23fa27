"""Whether what the settings name can be reached: a connection each, and nothing is sent."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from pydantic import SecretStr

from riverbridge.errors import ConfigurationError
from riverbridge.settings.sinks.aws import AwsSink
from riverbridge.settings.sinks.base import SinkSettings
from riverbridge.settings.sinks.file import FileSink
from riverbridge.settings.sinks.kafka import KafkaSink
from riverbridge.settings.sinks.river import RiverSink
from riverbridge.settings.sinks.sqs import SqsSink
from riverbridge.settings.sinks.webhook import WebhookSink
from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.sources.kafka import KafkaSource
from riverbridge.settings.sources.sqs import SqsSource
from riverbridge.store.dsn import connect, connect_failure

TIMEOUT = 3.0
"""Seconds that a connection may take."""

KAFKA_PORT = 9092


class Reached(NamedTuple):
    """failed: each place that cannot be reached, and why. tried: how many there are; 0 where
    nothing can be said without sending."""

    tried: int
    failed: Sequence[str]


def reach(part: SinkSettings | SourceSettings) -> Reached:
    """Try each place it connects to; of Postgres with its login, of others no further than TCP."""
    match part:
        case RiverSink():
            return _database(part.database_url)
        case FileSink():
            return _file(part.path)
        case _:
            places = _places(part)
            return Reached(len(places), [why for place in places if (why := _refused(*place))])


def _places(part: SinkSettings | SourceSettings) -> list[tuple[str, int]]:
    match part:
        case KafkaSink() | KafkaSource():
            return [_server(text.strip()) for text in part.bootstrap_servers.split(",")]
        case SqsSink() | SqsSource():
            return [_of_url(part.endpoint_url or part.queue_url)]
        case AwsSink():
            return [_of_url(part.endpoint_url)] if part.endpoint_url else []
        case WebhookSink():
            return [_of_url(part.url.partition("{")[0])]
        case _:
            return []


def _server(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.rpartition('://')[2]}")
    return parts.hostname or "", parts.port or KAFKA_PORT


def _of_url(text: str) -> tuple[str, int]:
    parts = urlsplit(text)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def _refused(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


def _database(url: SecretStr) -> Reached:
    dsn = url.get_secret_value()
    try:
        connect(dsn, application_name="riverbridge doctor").close()
    except ConfigurationError as error:
        return Reached(1, [str(error)])
    except psycopg.Error as error:
        return Reached(1, [connect_failure(error, dsn)])
    return Reached(1, [])


def _file(text: str) -> Reached:
    path = Path(text)
    if text == "-":
        return Reached(0, [])
    place = path if path.exists() else path.parent
    if os.access(place, os.W_OK):
        return Reached(1, [])
    return Reached(1, [f"{place}: {'may not be written' if place.exists() else 'is not there'}"])
