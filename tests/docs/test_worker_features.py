"""docs/worker-features.md and docs/river-features.md are true: programs run, links lead to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "worker-features.md"


@pytest.mark.timeout(300)
def test_the_page_on_worker_features(tmp_path: Path, empty_database: Database) -> None:
    marked = [block for block in blocks(PAGE) if block.mark]
    assert {block.mark for block in marked} == {"file", "run", "shows"}
    address = {"postgresql://app:secret@localhost:5432/app": url(empty_database)}
    with Reader(tmp_path, address, {}) as person:
        for block in marked:
            person.follow(block)


def test_every_feature_that_is_there_is_shown_somewhere() -> None:
    text = (ROOT / "docs/river-features.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (\w+) \| (.*) ?\|$", text, re.MULTILINE)
    rows = [row for row in rows if row[1] != "Here"]
    assert len(rows) > 50
    assert {stands for _, stands, _ in rows} == {"have", "differs", "not"}
    assert [name for name, stands, where in rows if stands != "not" and "](" not in where] == []
    assert "(river-features.md)" in (ROOT / "docs/workers.md").read_text(encoding="utf-8")
