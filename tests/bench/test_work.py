"""The work bench, small: every worker empties its backlog and proves it, every figure is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from riverbridge.bench import go_program
from riverbridge.bench.ground import BenchFailed, Ground
from riverbridge.bench.work_drain import jobs_per_s
from riverbridge.bench.work_system import (
    PEERS,
    PEERS_HOME,
    python_of,
    python_peer,
    river_go,
    river_python,
)
from tests.bench.test_bench import bench
from tests.support.parts import part

pytestmark = pytest.mark.postgres

KEYS = [
    "jobs_per_s",
    "river_sql_jobs_per_s",
    "ratio_to_river_sql",
    "ratio_to_river_go",
    "ratio_to_pgqueuer",
    "ratio_to_pgqueuer_best",
    "ratio_to_oban",
    "ratio_to_procrastinate",
    "slow_jobs_ratio",
    "p50_ms",
    "p99_ms",
]
ABSENT = KEYS[3:8]

LIAR = """
import json, signal, sys, threading
from pathlib import Path
import psycopg

discarded, calls, dsn, file = sys.argv[1:]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
with psycopg.connect(dsn, autocommit=True) as connection:
    connection.execute("SELECT FROM river_job LIMIT 1 FOR UPDATE SKIP LOCKED")
    connection.execute(
        "UPDATE river_job SET finalized_at = now(), state = "
        "(CASE WHEN id <= %s THEN 'discarded' ELSE 'completed' END)::river_job_state",
        (int(discarded),),
    )
stop.wait()
Path(file).write_text(json.dumps({"calls": int(calls)}))
"""


@pytest.mark.usefixtures("ground")
def test_a_small_run_gives_every_figure_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RIVERBRIDGE_REQUIRE", raising=False)
    small = ["--jobs", "2000", "--slow-jobs", "100", "--rounds", "1", "--seconds", "2"]
    nothing = ["--peers", str(tmp_path), "--river-go", str(tmp_path / "none")]
    done = bench("work", *small, *nothing, "--json")
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert list(figures) == KEYS
    assert [name for name, value in figures.items() if value is None] == ABSENT
    assert all(value > 0 for value in figures.values() if value is not None), figures
    for name in ("pgqueuer", "oban", "procrastinate"):
        assert any(line.startswith(f"{name} is left out") for line in text)
    assert any(line.startswith("river_go is left out") for line in text)


@pytest.mark.parametrize(
    ("discarded", "calls", "wrong"),
    [(0, 99, "99 calls"), (0, 101, "101 calls"), (1, 100, r"completed are \(99,\)")],
)
def test_without_proof_there_is_no_figure(
    ground: Ground, discarded: int, calls: int, wrong: str
) -> None:
    liar = [sys.executable, "-c", LIAR, str(discarded), str(calls)]
    worker = replace(river_python("drain"), command=lambda dsn, file: [*liar, dsn, str(file)])
    with pytest.raises(BenchFailed, match=wrong):
        jobs_per_s(ground, worker, 100)


@pytest.mark.go
@pytest.mark.timeout(600)
def test_rivers_own_worker_empties_a_backlog(ground: Ground, tmp_path: Path) -> None:
    with part("go"):
        program = go_program.build(tmp_path / "worker")
    assert jobs_per_s(ground, river_go(program, 2, 100), 1000) > 0


@pytest.mark.parametrize("name", PEERS)
def test_another_queue_empties_a_backlog(ground: Ground, name: str) -> None:
    peer = PEERS[name]
    with part(peer.name):
        python = python_of(peer, PEERS_HOME)
    assert jobs_per_s(ground, python_peer(peer, python, peer.used), 100 * peer.share) > 0


@pytest.mark.usefixtures("ground")
def test_a_missing_queue_that_is_required_is_an_error(tmp_path: Path) -> None:
    program = "from riverbridge.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "bench", "work", "--peers", str(tmp_path)],
        env=os.environ | {"RIVERBRIDGE_REQUIRE": "postgres,oban"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "make bench-peers" in done.stderr
