"""Which servers the tests use: what the environment says, what is missing, what to say then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from riverbridge.errors import ConfigurationError, PartMissing

PEERS = ("pgqueuer", "oban", "procrastinate")
"""Queues that the work bench compares with."""

PARTS = (
    "postgres",
    "kafka",
    "real_kafka",
    "registry",
    "debezium",
    "sqs",
    "go",
    "browser",
    "deploy",
    *PEERS,
)


def required() -> frozenset[str]:
    """The parts that must be there, from RIVERBRIDGE_REQUIRE (a comma list)."""
    named = {part.strip() for part in os.environ.get("RIVERBRIDGE_REQUIRE", "").split(",")} - {""}
    unknown = named - set(PARTS)
    if unknown:
        raise ConfigurationError(
            f"RIVERBRIDGE_REQUIRE names {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}"
        )
    return frozenset(named)


def postgres_majors() -> list[int]:
    """The Postgres majors to test on, from RIVERBRIDGE_TEST_PG_MAJORS, else 18.

    0 stands for the server of RIVERBRIDGE_TEST_DATABASE_URL, which is used alone.
    """
    if os.environ.get("RIVERBRIDGE_TEST_DATABASE_URL"):
        return [0]
    text = os.environ.get("RIVERBRIDGE_TEST_PG_MAJORS") or "18"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigurationError(
            f"RIVERBRIDGE_TEST_PG_MAJORS is {text!r}; it must be numbers, as in 15,18"
        ) from error


SERVER_TESTS = {"db", "upkeep", "interop"}
"""Folders whose tests run on every major: they are about statements and rows."""


def majors_for(folder: str, file: str) -> list[int]:
    """The majors for the tests of one file: all of them where the server's version can matter.

    What is about brokers, processes and screens runs on the first alone, unless
    RIVERBRIDGE_TEST_PG_EVERYWHERE is set.
    """
    majors = postgres_majors()
    if os.environ.get("RIVERBRIDGE_TEST_PG_EVERYWHERE"):
        return majors
    # These are about what the server does by itself: its time limits, its end, and what it sends.
    timing = {"test_freeze.py", "test_postgres.py", "test_postgres_source.py"}
    # And these are about drivers, words, a screen, Debezium and processes, whatever the server.
    outside = {"test_connections.py", "test_administration_ways.py", "test_client_refusals.py"}
    outside |= {"test_go_inserts.py", "test_beside_go.py", "test_river_api.py"}
    outside |= {"test_river_sink.py"}
    if file in outside | {"test_river_ui.py", "test_soak.py", "test_debezium.py"}:
        return majors[:1]
    return majors if folder in SERVER_TESTS or file in timing else majors[:1]


@contextmanager
def part(name: str) -> Iterator[None]:
    """Turn PartMissing into a skip that says how to get it, or an error where it is required."""
    try:
        yield
    except PartMissing as missing:
        if name in required():
            pytest.fail(f"RIVERBRIDGE_REQUIRE names {name}: {missing}", pytrace=False)
        pytest.skip(f"{name}: {missing}")
