"""Jobs that come one by one: how late they are delivered, and what that costs.

CPU times are of the bridge's process and of the whole Postgres server (its checkpointer, its
autovacuum) but for the backends that insert, which are the application's. They are read over the
middle three quarters of a run, and divided by the jobs delivered in that time.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from riverbridge.bench.ground import BenchFailed, Ground, check_all_done, connect, waiting
from riverbridge.bench.inserter import NAME, burst
from riverbridge.bench.pgbench import find_pgbench
from riverbridge.bench.service import environment, running
from riverbridge.bench.usage import cpu_seconds, server_cpu_seconds

Program = Callable[[str, Path], tuple[Sequence[str], dict[str, str]]]
"""Given a DSN and a file: the command and the environment of a process that settles jobs, and that,
when it is stopped, has written to the file the id of each and its time (time.monotonic)."""

CLIENTS = 4
"""Connections that insert at the higher rate: one alone does not reach it."""

_LISTENS = """
SELECT EXISTS (SELECT FROM river_leader)
   AND EXISTS (SELECT FROM riverbridge_process)
   AND EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND state = 'idle'
                 AND application_name LIKE 'riverbridge% listener' AND query LIKE 'LISTEN %')
"""


@dataclass(frozen=True)
class Trickled:
    """Jobs a second delivered and inserted, CPU in microseconds per delivered job, and how late
    each job was in milliseconds (empty where not taken)."""

    jobs_per_s: float
    inserted_per_s: float
    bridge_us: float
    server_us: float
    late_ms: Sequence[float] = ()

    @property
    def cpu_us(self) -> float:
        return self.bridge_us + self.server_us

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.late_ms, n=100, method="inclusive")[percent - 1]


BURST = 10
"""Jobs per transaction where many are inserted."""


def timed_bridge(servers: str) -> Program:
    """The bridge to Kafka; it notes the delivery reports."""

    def program(dsn: str, file: Path) -> tuple[Sequence[str], dict[str, str]]:
        command = [sys.executable, "-m", "riverbridge.bench.timed", str(file)]
        return command, environment(dsn, servers, on_success="complete")

    return program


def latency(ground: Ground, program: Program, rate: float, seconds: float) -> Trickled:
    """One inserter, one job per transaction; from the return of COMMIT to what `program` notes."""
    with (
        tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home,
        ground.database(0) as dsn,
    ):
        file = Path(home) / "committed"
        inserter = ["riverbridge.bench.inserter", dsn, str(rate), str(seconds), str(file)]
        command = [sys.executable, "-m", *inserter]
        trickled, delivered = _trickle(ground, dsn, program, command, seconds)
        committed = _read(file)
        if committed.keys() != delivered.keys():
            raise BenchFailed(
                f"{len(committed)} jobs were committed, {len(delivered)} delivered; "
                f"{len(committed.keys() ^ delivered.keys())} ids are only in one of these"
            )
        check_all_done(dsn, len(committed), deleted=False)
        late = [(delivered[id_] - at) * 1000 for id_, at in committed.items()]
        return dataclasses.replace(trickled, late_ms=late)


def cost(ground: Ground, program: Program, rate: float, seconds: float) -> Trickled:
    """The same at a rate beyond one connection, `BURST` jobs per transaction, sent by pgbench.

    Postgres commits transactions that announce one after the other, so one job per transaction
    would measure that; `inserted_per_s` tells whether the rate was reached.
    """
    with (
        tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home,
        ground.database(0) as dsn,
    ):
        script = Path(home) / "insert.sql"
        insert = burst(BURST).replace("%(n)s", ":n").replace("%%", "%").strip()
        script.write_text(f"\\set n random(1, 1000000)\n{insert};\n")
        command = [
            str(find_pgbench(ground.server.bin_dir)), "--no-vacuum", "--protocol=prepared",
            f"--client={CLIENTS}", f"--rate={rate / BURST:g}", f"--time={max(1, round(seconds))}",
            f"--file={script}", f"{dsn}?application_name={NAME.replace(' ', '%20')}",
        ]  # fmt: skip
        return _trickle(ground, dsn, program, command, seconds)[0]


def _trickle(
    ground: Ground, dsn: str, program: Program, command: Sequence[str], seconds: float
) -> tuple[Trickled, dict[str, float]]:
    """Run an inserter beside a program; what that cost, and when it noted each job."""
    with tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home, connect(dsn) as watch:
        file = Path(home) / "delivered"
        with running(*program(dsn, file), lambda: _listens(watch)) as bridge:
            with _inserting(command, seconds) as process:
                backends = _backends(watch, process)
                time.sleep(seconds / 8)
                before = _inserted(watch)
                first = _reading(ground, bridge.pid, backends)
                time.sleep(seconds * 3 / 4)
                last = _reading(ground, bridge.pid, backends)
                inserted = _inserted(watch) - before
            until = time.monotonic() + 30
            while waiting(watch):
                if time.monotonic() > until:
                    raise BenchFailed("jobs were left 30 s after the last insert")
                time.sleep(0.05)
        delivered = _read(file)
    jobs = sum(first[0] <= at < last[0] for at in delivered.values())
    if jobs == 0:
        raise BenchFailed("nothing was delivered while the costs were taken")
    return Trickled(
        jobs / (last[0] - first[0]),
        inserted / (last[0] - first[0]),
        (last[1] - first[1]) / jobs * 1e6,
        (last[2] - first[2]) / jobs * 1e6,
    ), delivered


@contextmanager
def _inserting(command: Sequence[str], seconds: float) -> Iterator[subprocess.Popen[str]]:
    """The inserter, waited for at the end. Raises BenchFailed if it fails."""
    with subprocess.Popen(  # noqa: S603 - this interpreter or pgbench
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            _, errors = process.communicate(timeout=seconds + 60)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise BenchFailed(f"the inserter failed: {errors.strip()[-2000:]}")


def _backends(
    watch: psycopg.Connection[tuple[Any, ...]], process: subprocess.Popen[str]
) -> list[int]:
    """The server processes of the inserter, once it is at work."""
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        rows = watch.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            " AND EXISTS (SELECT FROM river_job)",
            (NAME,),
        ).fetchall()
        if rows:
            return [pid for (pid,) in rows]
        time.sleep(0.01)
    raise BenchFailed("the inserter did not begin")


def _reading(ground: Ground, bridge: int, backends: Sequence[int]) -> tuple[float, float, float]:
    """The time, and the CPU seconds of the bridge and of the server."""
    server = server_cpu_seconds(ground.server.pid, backends)
    return time.monotonic(), cpu_seconds(bridge), server


def _inserted(watch: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = watch.execute("SELECT last_value FROM river_job_id_seq").fetchone()
    assert row is not None
    return int(row[0])


def _listens(watch: psycopg.Connection[tuple[Any, ...]]) -> bool:
    return watch.execute(_LISTENS.encode()).fetchone() == (True,)


def _read(path: Path) -> dict[str, float]:
    """Ids and times. Raises BenchFailed for an id that is there twice."""
    found: dict[str, float] = {}
    for line in path.read_text().splitlines():
        id_, at = line.split()
        if id_ in found:
            raise BenchFailed(f"job {id_} came twice")
        found[id_] = float(at)
    return found
