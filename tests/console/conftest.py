from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.console import MADE, Desk, desk
from tests.support.database import Database


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every console of the test gives its connections back."""
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture
def office(tables: Database) -> Desk:
    """The console, with logins."""
    return desk(tables)


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        yield connection
