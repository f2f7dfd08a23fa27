"""The page on periodic jobs is true as far as a page can be tried: its files and commands run."""

from __future__ import annotations

import shutil
from pathlib import Path

from riverbridge.errors import PartMissing
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database
from tests.support.parts import part

PAGE = ROOT / "docs" / "periodic-jobs.md"

# What the first file promises, looked at as a leader would.
LOOK = Block(
    "run",
    "python -c 'from reports import periodic_jobs\n"
    "for job in periodic_jobs.all().values(): print(job.id, job.constructor())'\n",
    "sh",
    0,
)
LOOKS = Block("shows", "None Report(scope='now')\nnightly InsertManyParams(args=Report…\n", "", 0)


def test_the_page_on_periodic_jobs(tmp_path: Path, empty_database: Database) -> None:
    with part("postgres"):
        if shutil.which("psql") is None:
            raise PartMissing("psql is not on the PATH, and the page uses it")
    marked = [block for block in blocks(PAGE) if block.mark]
    assert [block.mark for block in marked] == ["file"] + ["file", "run", "shows"] * 4
    # Named, as the package may be installed without its entry points here.
    plugins = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p riverbridge.testing.plugin -p no:cacheprovider",
    }
    env = plugins | {"DATABASE_URL": url(empty_database)}
    with Reader(tmp_path, {}, env) as person:
        for block in [*marked, LOOK, LOOKS]:
            person.follow(block)
