from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.axe import find_axe
from tests.support.browser import Browser, browser, find_chromium
from tests.support.console import MADE, Desk, desk
from tests.support.database import Database
from tests.support.parts import part


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


@pytest.fixture(scope="module")
def shared_window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of a module."""
    with part("browser"):
        find_chromium()
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def window(shared_window: Browser) -> Browser:
    """The same, as wide and as light as ever."""
    shared_window.look_like()
    return shared_window


@pytest.fixture(scope="session")
def axe() -> str:
    with part("browser"):
        return find_axe()
