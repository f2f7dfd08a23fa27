"""A scene for each test; and one Postgres major is enough, except where a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.processes import Scene
from tests.support.database import Database
from tests.support.parts import postgres_majors

HERE = Path(__file__).parent


@pytest.fixture
def scene(database: Database, tmp_path: Path) -> Iterator[Scene]:
    with Scene(database, tmp_path) as made:
        yield made


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """These tests take minutes: those without the marker `every_major` run on the first major."""
    first = postgres_majors()[0]
    dropped = [
        item
        for item in items
        if HERE in item.path.parents
        and isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and item.callspec.params.get("postgres_major", first) != first
        and item.get_closest_marker("every_major") is None
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]
