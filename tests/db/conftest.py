"""A database that the tests of a module share, its tables emptied before each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.database import Database, Server, new_name


@pytest.fixture(scope="module")
def module_database(postgres: Server, template: str) -> Iterator[Database]:
    name = new_name()
    yield Database(name, postgres.create_database(name, template), postgres)
    postgres.drop_database(name)


@pytest.fixture
def tables(module_database: Database) -> Database:
    """River's tables and ours, empty, ids from 1, without the function `guard` and its triggers."""
    with module_database.connect() as connection:
        connection.execute("DROP FUNCTION IF EXISTS guard() CASCADE")
        connection.execute(
            "TRUNCATE river_job, river_queue, river_leader, riverbridge_process, riverbridge_route"
            " RESTART IDENTITY"
        )
    return module_database
