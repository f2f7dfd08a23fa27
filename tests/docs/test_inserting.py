"""The pages on inserting and the examples are true: their programs are run, on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.support.connections import url
from tests.support.database import Database

PAGES = ("inserting", "from-riverqueue", "from-river-go", "from-celery")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_the_page(page: str, tmp_path: Path, database: Database) -> None:
    marked = [block for block in blocks(ROOT / f"docs/{page}.md") if block.mark]
    assert {block.mark for block in marked} == {"file", "run", "shows"}
    with Reader(tmp_path, {}, {"DATABASE_URL": url(database)}) as person:
        for block in marked:
            person.follow(block)


def test_the_examples_commit_an_order_and_its_job(database: Database) -> None:
    env = os.environ | {"DATABASE_URL": url(database), "PYTHONPATH": str(ROOT)}
    listed = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 7
    with database.connect() as connection:
        for example in EXAMPLES:
            assert f"({example.name})" in listed
            done = subprocess.run(
                [sys.executable, "-W", "error", str(example)],
                env=env, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, f"{example.name}: {done.stderr}"
            rows = connection.execute(
                "SELECT (SELECT count(*) FROM orders),"
                " count(*) FILTER (WHERE state = 'available' AND kind = 'order.placed'"
                " AND args ?& ARRAY['order_id', 'customer']), count(*) FROM river_job"
            ).fetchone()
            assert rows is not None
            orders, jobs, all_jobs = rows
            assert orders == 1, example.name
            assert jobs == all_jobs >= 1, example.name
            connection.execute("DROP TABLE orders; TRUNCATE river_job")
