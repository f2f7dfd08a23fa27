"""docs/webhooks-in.md is true: its example runs, on a Postgres."""

from __future__ import annotations

from pathlib import Path

from riverbridge.embedded.process import free_port
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "webhooks-in.md"


def test_the_page_on_webhooks_that_come_in(tmp_path: Path, empty_database: Database) -> None:
    port = str(free_port())
    replace = {
        "postgresql://app@db/app": url(empty_database),
        "localhost:8080": f"localhost:{port}",
    }
    env = {"RIVERBRIDGE_HTTP__PORT": port}
    with Reader(tmp_path, replace, env) as person:
        for block in blocks(PAGE):
            if block.mark:
                person.follow(block)
