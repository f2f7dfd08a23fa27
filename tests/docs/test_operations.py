"""docs/operations.md is true: what it says to type shows what it says."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database
from tests.support.standing import stand

PAGE = ROOT / "docs" / "operations.md"


def test_the_page_on_operations(tmp_path: Path, database: Database) -> None:
    with database.connect() as connection:
        stand(connection)
    with Reader(tmp_path, {"postgresql://app@db/app": url(database)}, {}) as person:
        marked = [block for block in blocks(PAGE) if block.mark]
        assert len(marked) == 2
        for block in marked:
            person.follow(block)
