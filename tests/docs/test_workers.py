"""docs/workers.md is true: its functions work the jobs it inserts, on a real database."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from riverbridge.embedded.process import free_port
from riverbridge.errors import PartMissing
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database
from tests.support.parts import part

PAGE = ROOT / "docs" / "workers.md"


@pytest.mark.timeout(300)
def test_the_page_on_workers(tmp_path: Path, empty_database: Database) -> None:
    with part("postgres"):
        if shutil.which("psql") is None:
            raise PartMissing("psql is not on the PATH, and the page uses it")
    address = {"postgresql://app:secret@localhost:5432/app": url(empty_database)}
    env = {"RIVERBRIDGE_PROBES__PORT": str(free_port()), "RIVERBRIDGE_LOG__FORMAT": "text"}
    marked = [block for block in blocks(PAGE) if block.mark]
    assert {block.mark for block in marked} == {"file", "run", "start", "shows", "stop"}
    with Reader(tmp_path, address, env) as person:
        for block in marked:
            person.follow(block)
