"""The bench, small: it does all of its work and gives every figure. How large they are is its own
to say, not a test's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from riverbridge.bench.ground import BenchFailed, Ground, check_all_done, connect, waiting
from riverbridge.bench.pgbench import ceiling, find_pgbench, river
from riverbridge.embedded.postgres import find_postgres
from tests.support.parts import part

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]

ROOT = Path(__file__).parents[2]
KEYS = [
    "jobs_per_s",
    "sql_ceiling_jobs_per_s",
    "ratio_to_ceiling",
    "river_sql_jobs_per_s",
    "ratio_to_river_sql",
    "delete_ratio_to_ceiling",
    "p50_ms",
    "p99_ms",
    "cpu_us_per_job_200",
    "cpu_us_per_job_2000",
    "wal_bytes_per_job",
    "rss_mib",
]


@pytest.fixture
def parts() -> None:
    with part("postgres"):
        find_pgbench(find_postgres(18))


def bench(*arguments: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from riverbridge.cli import main; main()", "bench"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=timeout, cwd=ROOT
    )


@pytest.mark.usefixtures("parts")
def test_a_small_run_gives_every_figure() -> None:
    done = bench("bridge", "--jobs", "2000", "--rounds", "1", "--seconds", "2", "--json")
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert list(figures) == KEYS
    assert all(value > 0 for value in figures.values()), figures
    shown = "\n".join(text)
    assert "fsync = on" in shown
    assert "river_job_args_index" in shown
    assert "river_job_metadata_index" in shown


def test_too_few_jobs_are_refused() -> None:
    done = bench("bridge", "--jobs", "10", timeout=30)
    assert done.returncode == 2
    assert "2000" in done.stderr


def test_the_sql_of_both_sides_empties_a_backlog(ground: Ground) -> None:
    # Each of these checks the rows it leaves behind, and raises if one was not worked.
    assert ceiling(ground, 3000, "complete") > 0
    assert ceiling(ground, 3000, "complete", fused=True) > 0
    assert ceiling(ground, 3000, "delete") > 0
    assert ceiling(ground, 3000, "delete", fused=True) > 0
    assert river(ground, 3000) > 0


def test_a_backlog_has_the_stated_jobs_and_each_run_its_own(ground: Ground) -> None:
    for _ in range(2):
        with ground.database(100) as dsn, connect(dsn) as connection:
            row = connection.execute(
                "SELECT count(*), avg(octet_length(args::text)),"
                " max((SELECT count(*) FROM jsonb_object_keys(args)))"
                " FROM river_job WHERE state = 'available'"
            ).fetchone()
            assert row is not None
            assert row[0] == 100
            assert round(row[1]) == 260
            assert row[2] == 9
            assert waiting(connection)
            connection.execute("DELETE FROM river_job")
            assert not waiting(connection)


def test_work_left_undone_is_a_failure(ground: Ground) -> None:
    with ground.database(100) as dsn:
        with pytest.raises(BenchFailed, match="'available': 100"):
            check_all_done(dsn, 100, deleted=False)
        with pytest.raises(BenchFailed, match="'available': 100"):
            check_all_done(dsn, 100, deleted=True)
