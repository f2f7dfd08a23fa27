from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.database import Database
from tests.support.witness import Witness


@pytest.fixture
def witness(tables: Database) -> Iterator[Witness]:
    with tables.connect() as connection:
        yield Witness(connection)
