"""docs/testing.md is true: its tests are run by pytest, with the plugin, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverbridge import testing
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "testing.md"


@pytest.mark.timeout(300)
def test_the_page_on_testing(tmp_path: Path, empty_database: Database) -> None:
    marked = [block for block in blocks(PAGE) if block.mark]
    assert {block.mark for block in marked} == {"file", "run", "shows"}
    address = {"postgresql://app:secret@localhost:5432/app": url(empty_database)}
    # Named, as the package may be installed without its entry points here.
    plugins = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p riverbridge.testing.plugin -p no:cacheprovider -W error",
    }
    with Reader(tmp_path, address, plugins) as person:
        for block in marked:
            person.follow(block)


def test_every_name_and_fixture_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in testing.__all__:
        if name not in ("WorkResult",) and not name.endswith("_async"):
            assert name in text, name
    fixtures = (ROOT / "riverbridge/testing/plugin.py").read_text(encoding="utf-8")
    for line in fixtures.split('"""')[1].splitlines():
        if line.startswith("river_"):
            assert f"`{line.split()[0]}`" in text, line
