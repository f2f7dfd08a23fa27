"""The servers the tests use, as fixtures. Each is real, on loopback, and gone afterwards.

postgres          a server for the session, once for each major in RIVERBRIDGE_TEST_PG_MAJORS
                  where its version can matter, else the first of them
database          a fresh database on it, with River's tables and ours
tables            the same, but one for all tests of a module, emptied before each
look              a connection to `tables`, beside those under test
empty_database    a fresh database on it, with nothing
own_postgres      a server for this test alone: stop, kill and pause it
kafka, own_kafka  a Kafka-protocol broker (Tansu), for the session or for this test alone
kafka_mock        librdkafka's mock cluster, for this test alone: it fails on command
real_kafka        Apache Kafka 4, for the session
real_registry     Apicurio, a schema registry, for the session
sqs, own_sqs      an SQS server (ministack), for the session or for this test alone
sqs_stub          canned SQS replies: fast, and faulty on command
proxy             makes proxies that cut connections: proxy(port)

A test gets the marker of a part by using its fixture. What is missing is a skip that says how to
get it, or an error where RIVERBRIDGE_REQUIRE names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.embedded.sqs import SqsServer
from riverbridge.errors import RiverbridgeError
from riverbridge.testing.proxy import Proxy
from tests.support import header
from tests.support.database import (
    Database,
    GivenPostgres,
    Server,
    build_template,
    new_name,
)
from tests.support.given import GivenKafka, GivenSqs
from tests.support.memory import keep_files_in_memory
from tests.support.mock_kafka import MockKafka
from tests.support.parts import majors_for, part
from tests.support.real_kafka import RealKafka
from tests.support.real_registry import RealRegistry
from tests.support.sqs_stub import SqsStub

_MARKERS = {
    "postgres": "postgres",
    "own_postgres": "postgres",
    "kafka": "kafka",
    "own_kafka": "kafka",
    "kafka_mock": "kafka",
    "real_kafka": "real_kafka",
    "real_registry": "registry",
    "debezium": "debezium",
    "sqs": "sqs",
    "own_sqs": "sqs",
    "sqs_stub": "sqs",
}


_TESTS = Path(__file__).parent

COLLECTED = pytest.StashKey[frozenset[str]]()
"""The ids of all tests found, without `tests/`, whichever of them are run."""


def pytest_configure() -> None:
    keep_files_in_memory()


def pytest_report_header() -> list[str]:
    return header.lines()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "postgres_major" in metafunc.fixturenames:
        try:
            path = metafunc.definition.path
            majors = majors_for(path.relative_to(_TESTS).parts[0], path.name)
        except RiverbridgeError as error:
            raise pytest.UsageError(str(error)) from error
        ids = [f"pg{major}" if major else "given" for major in majors]
        metafunc.parametrize("postgres_major", majors, ids=ids, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[COLLECTED] = frozenset(item.nodeid.removeprefix("tests/") for item in items)
    for item in items:
        for marker in {_MARKERS.get(name) for name in getattr(item, "fixturenames", ())}:
            if marker is not None:
                item.add_marker(marker)


@pytest.fixture(scope="session")
def postgres(postgres_major: int) -> Iterator[Server]:
    url = os.environ.get("RIVERBRIDGE_TEST_DATABASE_URL")
    if url:
        yield GivenPostgres(url)
        return
    with part("postgres"):
        server = Postgres(major=postgres_major, fsync=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Server) -> Iterator[str]:
    name = build_template(postgres)
    yield name
    postgres.drop_database(name)


@pytest.fixture
def database(postgres: Server, template: str) -> Iterator[Database]:
    name = new_name()
    yield Database(name, postgres.create_database(name, template), postgres)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def module_database(postgres: Server, template: str) -> Iterator[Database]:
    name = new_name()
    yield Database(name, postgres.create_database(name, template), postgres)
    postgres.drop_database(name)


EMPTY = b"""
DO $$
DECLARE one record; used boolean;
BEGIN
    -- Also waits for what the test before has left open, which would else be committed later.
    EXECUTE (SELECT 'LOCK ' || string_agg(oid::regclass::text, ', ' ORDER BY relname)
             FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r');
    FOR one IN SELECT oid::regclass AS name, relkind FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
                 AND relname <> 'river_migration'
    LOOP
        IF one.relkind = 'S' THEN
            EXECUTE format('SELECT is_called FROM %s', one.name) INTO used;
            IF used THEN PERFORM setval(one.name, 1, false); END IF;
        ELSE
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one.name) INTO used;
            IF used THEN EXECUTE format('TRUNCATE %s', one.name); END IF;
        END IF;
    END LOOP;
END $$
"""
"""To truncate them all, used or not, takes three times as long."""


@pytest.fixture
def tables(module_database: Database) -> Database:
    """River's tables and ours, empty, ids from 1, without the function `guard` and its triggers."""
    with module_database.connect() as connection:
        connection.execute("DROP FUNCTION IF EXISTS guard() CASCADE")
        connection.execute(EMPTY)
    return module_database


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection that sees what others have committed."""
    with tables.connect() as connection:
        yield connection


@pytest.fixture
def empty_database(postgres: Server) -> Iterator[Database]:
    name = new_name()
    yield Database(name, postgres.create_database(name), postgres)
    postgres.drop_database(name)


@pytest.fixture
def own_postgres(postgres_major: int) -> Iterator[Postgres]:
    with part("postgres"):
        server = Postgres(major=postgres_major or None, fsync=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker | GivenKafka]:
    given = os.environ.get("RIVERBRIDGE_TEST_KAFKA")
    if given:
        yield GivenKafka(given)
        return
    with part("kafka"):
        broker = Broker()
    with broker:
        yield broker


@pytest.fixture
def own_kafka() -> Iterator[Broker]:
    with part("kafka"):
        broker = Broker()
    with broker:
        yield broker


@pytest.fixture
def kafka_mock() -> Iterator[MockKafka]:
    with part("kafka"):
        cluster = MockKafka()
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def sqs() -> Iterator[SqsServer | GivenSqs]:
    given = os.environ.get("RIVERBRIDGE_TEST_SQS_URL")
    if given:
        yield GivenSqs(given)
        return
    with part("sqs"):
        server = SqsServer()
    with server:
        yield server


@pytest.fixture
def own_sqs() -> Iterator[SqsServer]:
    with part("sqs"):
        server = SqsServer()
    with server:
        yield server


@pytest.fixture
def sqs_stub() -> Iterator[SqsStub]:
    with SqsStub() as stub:
        yield stub


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[RealKafka]:
    with part("real_kafka"):
        broker = RealKafka()
    with broker:
        yield broker


@pytest.fixture(scope="session")
def real_registry() -> Iterator[RealRegistry]:
    with part("registry"):
        server = RealRegistry()
    with server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """Makes a proxy to a port on loopback; all are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda target: stack.enter_context(Proxy(target))
