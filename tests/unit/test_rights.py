"""The rights that `riverbridge doctor` asks for are those of docs/operations.md."""

from __future__ import annotations

import pytest

from riverbridge.store.rights import NEEDED
from tests.support.roles import grants


@pytest.mark.parametrize("name", NEEDED)
def test_they_are_those_of_the_page(name: str) -> None:
    page = [
        " ".join(statement.removeprefix("GRANT ").removesuffix(" TO riverbridge").split())
        for statement in grants(name)
    ]
    assert list(NEEDED[name]) == page
