"""A backlog emptied by `riverbridge run`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from riverbridge.bench.ground import BenchFailed, Fill, Ground, check_all_done, connect, waiting
from riverbridge.bench.service import RUN, environment, running
from riverbridge.bench.usage import cpu_seconds, peak_mib, server_cpu_seconds

POLL = 0.01
"""Seconds between looks for the end; it is found at most so much late, to the bridge's loss."""

_BLOCKED = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND application_name LIKE 'riverbridge%'
                 AND query LIKE ANY ('{%SKIP LOCKED%,%pg_snapshot_xmin%}'))
"""


@dataclass(frozen=True)
class Drained:
    """Of one run: jobs and bytes per second and job, CPU in microseconds per job, peak MiB."""

    jobs_per_s: float
    wal_bytes_per_job: float
    bridge_us: float
    server_us: float
    rss_mib: float


def drain(
    ground: Ground,
    servers: str,
    jobs: int,
    *,
    delete: bool,
    ordered: bool = False,
    fill: Fill | None = None,
) -> Drained:
    """From the moment the backlog is released to the last commit.

    The bridge starts while the table is locked away from it. The lock goes as soon as the first
    claim waits for it (that wait is part of its `hold`): start-up does not count, all work does.
    """
    env_for = "delete" if delete else "complete"
    with ground.database(jobs, fill) as dsn:
        with connect(dsn) as watch, connect(dsn) as gate:
            gate.execute("BEGIN; LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")
            env = environment(dsn, servers, on_success=env_for, ordered=ordered)
            with running(RUN, env, lambda: _true(watch, _BLOCKED)) as bridge:
                wal = _wal(watch)
                cpu = cpu_seconds(bridge.pid), server_cpu_seconds(ground.server.pid)
                gate.execute("COMMIT")
                began = time.monotonic()
                _await_end(watch, began + 60 + jobs / 500)
                seconds = time.monotonic() - began
                result = Drained(
                    jobs / seconds,
                    (_wal(watch) - wal) / jobs,
                    (cpu_seconds(bridge.pid) - cpu[0]) / jobs * 1e6,
                    (server_cpu_seconds(ground.server.pid) - cpu[1]) / jobs * 1e6,
                    peak_mib(bridge.pid),
                )
        check_all_done(dsn, jobs, deleted=delete)
    return result


def _await_end(watch: psycopg.Connection[tuple[Any, ...]], until: float) -> None:
    while waiting(watch):
        if time.monotonic() > until:
            raise BenchFailed(f"the backlog was not empty at the time limit: {_counts(watch)}")
        time.sleep(POLL)


def _counts(watch: psycopg.Connection[tuple[Any, ...]]) -> dict[str, int]:
    return dict(watch.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall())


def _true(watch: psycopg.Connection[tuple[Any, ...]], condition: str) -> bool:
    return watch.execute(condition.encode()).fetchone() == (True,)


def _wal(watch: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = watch.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])
