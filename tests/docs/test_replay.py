"""docs/replay.md is true: what it says to type is typed, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database
from tests.support.jobs import add

PAGE = ROOT / "docs" / "replay.md"


@pytest.mark.timeout(300)
def test_the_page(tmp_path: Path, database: Database) -> None:
    """Its reader has finished jobs; no bridge runs."""
    done = {"queue": "'orders'", "finalized_at": "now() - interval '1 hour'", "attempt": "1"}
    with database.connect() as connection:
        add(connection, **done, kind="'order.placed'", state="'completed'")
        add(connection, **done, kind="'order.paid'", state="'completed'")
        add(connection, **done, kind="'order.paid'", state="'discarded'")
        add(connection, **done, kind="'mail'", state="'completed'")
    address = {"postgresql://app:secret@localhost:5432/app": url(database)}
    with Reader(tmp_path, address, {}) as person:
        marked = [block for block in blocks(PAGE) if block.mark]
        assert len(marked) > 4
        for block in marked:
            person.follow(block)
