"""Environments the settings tests start from, and how they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverbridge.errors import ConfigurationError
from riverbridge.settings import Settings, load

CANARY = "kZq7canary91"
DSN = "postgresql://app@db/app"
KAFKA = {
    "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
    "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": "broker:9092",
    "RIVERBRIDGE_SINKS__EVENTS__TOPIC": "jobs.{kind}",
}
SQS = {
    "RIVERBRIDGE_SINKS__BILLING__TYPE": "sqs",
    "RIVERBRIDGE_SINKS__BILLING__QUEUE_URL": (
        "https://sqs.eu-west-1.amazonaws.com/123456789012/billing.fifo"
    ),
}
STANDARD = {**SQS, "RIVERBRIDGE_SINKS__BILLING__QUEUE_URL": "https://sqs.aws/1/billing"}
ROUTE = {"RIVERBRIDGE_ROUTES__A__QUEUES": "orders"}
EXAMPLE = {
    "DATABASE_URL": DSN,
    **KAFKA,
    **SQS,
    "RIVERBRIDGE_ROUTES__ORDERS__QUEUES": "orders",
    "RIVERBRIDGE_ROUTES__ORDERS__KINDS": "order.*",
    "RIVERBRIDGE_ROUTES__ORDERS__SINKS": "events,billing",
    "RIVERBRIDGE_ROUTES__ORDERS__KEY": "{args.customer_id}",
    "RIVERBRIDGE_ROUTES__ORDERS__ORDERED": "false",
    "RIVERBRIDGE_SOURCES__SIGNUPS__TYPE": "kafka",
    "RIVERBRIDGE_SOURCES__SIGNUPS__BOOTSTRAP_SERVERS": "broker:9092",
    "RIVERBRIDGE_SOURCES__SIGNUPS__TOPICS": "signups",
    "RIVERBRIDGE_SOURCES__SIGNUPS__KIND": "signup",
    "RIVERBRIDGE_SCHEMA": "public",
    "RIVERBRIDGE_HTTP__PORT": "8080",
}


S = "RIVERBRIDGE_SINKS__EVENTS__"
B = "RIVERBRIDGE_SINKS__BILLING__"
R = "RIVERBRIDGE_ROUTES__A__"


def problems_of(
    env: dict[str, str], dotenv: Path | None = None, toml: Path | None = None
) -> tuple[str, ...]:
    """The problems of an environment; none if it loads, and then it can be described."""
    try:
        load(env, dotenv, toml).describe()
    except ConfigurationError as error:
        return error.problems
    return ()


def read(env: dict[str, str], **more: object) -> Settings:
    return load({"DATABASE_URL": DSN, **env}, None, None, **more)  # type: ignore[arg-type]


def refused(env: dict[str, str], **more: object) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(env, **more)
    return caught.value.problems
