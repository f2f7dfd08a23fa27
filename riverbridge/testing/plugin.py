"""Fixtures for pytest, which finds this module by its entry point.

river_database_url   what RIVERBRIDGE_TEST_DATABASE_URL or the option riverbridge_database_url says
river_database       River's tables and ours in a schema of this run's own, empty: `dsn`, `schema`
river_connection     a psycopg connection to it, in autocommit
river_client         a client on that connection, which goes by the clock
river_clock          the schema's clock, back at the server's time for each test
river_workers        the functions of `river_tester`: to be overridden
river_tester         works jobs on that connection

All sessions that connect by `river_database.dsn` find the tables and follow the clock. Nothing is
imported before the first of these is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    from riverbridge import Client, Workers
    from riverbridge.testing.clock import Clock
    from riverbridge.testing.schema import TestSchema
    from riverbridge.testing.tester import JobTester

VARIABLE = "RIVERBRIDGE_TEST_DATABASE_URL"
OPTION = "riverbridge_database_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        OPTION, f"the database in which riverbridge's fixtures make a schema; {VARIABLE} wins"
    )


@pytest.fixture(scope="session")
def river_database_url(pytestconfig: pytest.Config) -> str:
    """The DSN of a database for tests. Override it where that is known only at run time."""
    url = os.environ.get(VARIABLE) or str(pytestconfig.getini(OPTION))
    if not url:
        pytest.fail(
            f"riverbridge's fixtures need a database: set {VARIABLE}, the option {OPTION} of "
            "pytest, or override the fixture river_database_url",
            pytrace=False,
        )
    return url


@pytest.fixture(scope="session")
def _river_schema(river_database_url: str) -> Iterator[TestSchema]:
    from riverbridge.testing.schema import TestSchema

    schema = TestSchema(river_database_url)
    with schema:
        yield schema


@pytest.fixture
def river_database(_river_schema: TestSchema) -> Iterator[TestSchema]:
    """River's tables and ours, empty, in a schema that is dropped at the end of the run."""
    yield _river_schema
    _river_schema.empty()


@pytest.fixture
def river_connection(river_database: TestSchema) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection to `river_database`, in autocommit."""
    with river_database.connect() as connection:
        yield connection


@pytest.fixture
def river_clock(river_connection: psycopg.Connection[Any], river_database: TestSchema) -> Clock:
    """The clock of all sessions on `river_database`; see riverbridge.testing.Clock."""
    from riverbridge.testing.clock import Clock

    return Clock(river_connection, schema=river_database.schema)


@pytest.fixture
def river_client(river_connection: psycopg.Connection[Any], river_clock: Clock) -> Client:
    """A client on `river_connection`; while a transaction is open there, all is done in it."""
    from riverbridge.testing.link import JoiningClient, Link

    return JoiningClient(river_connection, Link(river_connection), now=river_clock.now)


@pytest.fixture
def river_workers() -> Workers:
    """The job functions that `river_tester` works with."""
    pytest.fail(
        "river_tester needs your job functions: define a fixture river_workers that returns your "
        "riverbridge.Workers",
        pytrace=False,
    )


@pytest.fixture
def river_tester(
    river_connection: psycopg.Connection[Any], river_client: Client, river_workers: Workers
) -> JobTester:
    """Works jobs on `river_connection`; see riverbridge.testing.JobTester."""
    from riverbridge.testing.tester import JobTester

    return JobTester(river_connection, river_workers, client=river_client)
