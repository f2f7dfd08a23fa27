"""docs/administration.md is true: what it says to type is typed, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverbridge import AsyncClient, Client
from riverbridge.client.administration import AsyncJobAdministration, JobAdministration
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "administration.md"


@pytest.mark.timeout(300)
def test_the_page(tmp_path: Path, database: Database) -> None:
    """Its reader has the tables, and a worker on the queue `mail`."""
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO river_queue (name, created_at, metadata, updated_at)"
            " VALUES ('mail', now(), '{}', now())"
        )
    address = {"postgresql://app:secret@localhost:5432/app": url(database)}
    with Reader(tmp_path, address, {}) as person:
        marked = [block for block in blocks(PAGE) if block.mark]
        assert len(marked) > 12
        for block in marked:
            person.follow(block)


@pytest.mark.parametrize("mixin", [JobAdministration, AsyncJobAdministration])
def test_every_method_is_on_the_page_and_in_both_clients(mixin: type) -> None:
    text = PAGE.read_text(encoding="utf-8")
    methods = {name for name in vars(mixin) if name.startswith(("job_", "queue_"))}
    plain = {name for name in methods if not name.endswith("_tx")}
    assert len(plain) == 12
    # A job at work is completed in its function's transaction or not by a client at all.
    assert methods == plain | {f"{name}_tx" for name in plain} | {"job_complete_tx"}
    for name in plain | {"job_complete_tx"}:
        assert f"`{name}(" in text, name
    assert issubclass(Client if mixin is JobAdministration else AsyncClient, mixin)
