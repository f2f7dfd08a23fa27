from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.console import Desk, desk
from tests.support.database import Database


@pytest.fixture
def office(tables: Database) -> Iterator[Desk]:
    """The console, with logins."""
    made = desk(tables)
    yield made
    made.close()


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        yield connection
