"""docs/console.md is true: its example runs."""

from __future__ import annotations

from pathlib import Path

from riverbridge.embedded.process import free_port
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "console.md"


def test_the_page_on_the_console(tmp_path: Path, empty_database: Database) -> None:
    port = str(free_port())
    replace = {
        "postgresql://app@db/app": url(empty_database),
        "127.0.0.1:8080": f"127.0.0.1:{port}",
    }
    with Reader(tmp_path, replace, {"RIVERBRIDGE_HTTP__PORT": port}) as person:
        for block in blocks(PAGE):
            if block.mark:
                person.follow(block)
