"""docs/sinks.md is true: its sink is installed, passes the conformance suite, and is configured."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader

PAGE = ROOT / "docs" / "sinks.md"


def install(home: Path) -> None:
    """What `pip install -e .` leaves of pyproject.toml: the names of the entry points."""
    project = tomllib.loads((home / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = home / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [f"[{g}]\n" + "".join(f"{n}={v}\n" for n, v in points.items()) for g, points in groups]
    (known / "entry_points.txt").write_text("".join(lines))


@pytest.mark.timeout(120)
def test_the_page_on_sinks(tmp_path: Path) -> None:
    marked = [block for block in blocks(PAGE) if block.mark]
    assert {block.mark for block in marked} == {"file", "run", "shows"}
    replace = {
        "pip install -e .\n": "",
        "pytest -q": "python -m pytest -q -p no:cacheprovider -W error",
    }
    with Reader(tmp_path, replace, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}) as person:
        for block in marked:
            person.follow(block)
            if block.name == "pyproject.toml":
                install(tmp_path)
