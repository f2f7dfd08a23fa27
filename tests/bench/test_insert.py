"""The insert bench, small: every client inserts the same jobs, and every figure is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from riverbridge.bench.ground import BenchFailed, Ground, connect
from riverbridge.bench.insert import commands, one_round
from tests.bench.test_bench import ROOT, bench
from tests.support.parts import part

pytestmark = pytest.mark.postgres

KEYS = [
    "insert_many_rows_per_s",
    "ratio_to_riverqueue_python",
    "ratio_to_river_go",
    "insert_many_fast_ratio",
    "single_ratio",
]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with part("postgres"):
        ground = Ground()
    with ground:
        yield ground


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    with part("go"):
        return commands(None, tmp_path_factory.mktemp("worker"))


def inserted(ground: Ground, command: list[str], method: str) -> list[tuple[Any, ...]]:
    with ground.database(0) as dsn:
        subprocess.run(
            [*command, dsn, method], input="1000\n7\n", check=True, timeout=60, text=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with connect(dsn) as connection:
            return connection.execute(
                "SELECT kind, queue, state, priority, max_attempts, tags, metadata, args"
                " FROM river_job ORDER BY args->'order_id'"
            ).fetchall()


@pytest.mark.go
@pytest.mark.timeout(600)
def test_all_clients_insert_the_same_jobs(ground: Ground, programs: dict[str, list[str]]) -> None:
    seen = {client: inserted(ground, command, "many") for client, command in programs.items()}
    assert len(seen["riverbridge"]) == 1007
    assert seen["riverbridge"] == seen["River Go"] == seen["riverqueue"]


@pytest.mark.go
@pytest.mark.timeout(600)
def test_a_small_run_gives_every_figure(programs: dict[str, list[str]]) -> None:
    go = programs["River Go"][0]
    done = bench("insert", "--jobs", "1000", "--rounds", "1", "--river-go", go, "--json")
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert list(figures) == KEYS
    assert all(value > 0 for value in figures.values()), figures
    assert any("River Go InsertManyFast" in line for line in text)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("print('{\"seconds\": 1}', flush=True)", "2000 jobs of 260 bytes should be there"),
        ("raise SystemExit('no such table')", "riverbridge many failed: no such table"),
    ],
)
def test_a_client_that_inserts_too_little_or_ends_is_a_failure(
    ground: Ground, answer: str, said: str
) -> None:
    program = f"import sys\nfor line in sys.stdin: {answer}"
    with pytest.raises(BenchFailed, match=said):
        one_round(
            ground, {"riverbridge": [sys.executable, "-c", program]}, 1000, ["riverbridge many"]
        )


def test_a_missing_part_is_said_with_the_way_to_get_it(tmp_path: Path) -> None:
    none = bench("insert", "--river-go", str(tmp_path / "none"), timeout=60)
    assert (none.returncode, none.stdout) == (1, "")
    assert "go build" in none.stderr
    (tmp_path / "riverqueue.py").write_text("raise ImportError('hidden')")
    program = "from riverbridge.cli import main; main()"
    hidden = subprocess.run(
        [sys.executable, "-c", program, "bench", "insert", "--river-go", sys.executable],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (hidden.returncode, hidden.stdout) == (1, "")
    assert "pip install riverqueue" in hidden.stderr
