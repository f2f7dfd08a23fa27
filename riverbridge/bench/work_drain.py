"""A backlog worked by any of the compared workers, and the proof that all of it was."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from riverbridge.bench.ground import BenchFailed, Fill, Ground, connect
from riverbridge.bench.service import running
from riverbridge.embedded.process import plain_environment

POLL = 0.01
"""Seconds between looks for the end; it is found at most so much late, in every run."""

LIMIT = 400.0
"""Seconds a backlog may take."""

_WAITING = """
SELECT count(DISTINCT application_name) FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE NOT granted AND relation = to_regclass(%s) AND query LIKE %s
"""


@dataclass(frozen=True)
class System:
    """A queue's tables.

    claim: what a worker's claim, or what it does just before, is LIKE. last: the id of the job that
    is claimed last. settled: whether the job of that id is finished. left: whether any is not.
    done: how many succeeded.
    """

    table: LiteralString
    claim: str
    last: LiteralString
    settled: LiteralString
    left: LiteralString
    done: LiteralString


@dataclass(frozen=True)
class Worker:
    """A way to work a backlog, of the size of all others' divided by `share`.

    command: what runs a process of it, given a DSN and a file; on SIGTERM that stops, and writes
    the number of its calls there, as {"calls": N}.
    """

    system: System
    fill: Fill
    command: Callable[[str, Path], Sequence[str]]
    environment: dict[str, str] = field(default_factory=plain_environment)
    processes: int = 1
    share: int = 1


def jobs_per_s(ground: Ground, worker: Worker, jobs: int) -> float:
    """From the moment the backlog is released to the last commit.

    All processes start while the table is locked away from them. The lock goes as soon as each
    waits for it: start-up does not count, all work does. Raises BenchFailed unless completed rows,
    calls and backlog are equal.
    """
    system, jobs = worker.system, jobs // worker.share
    with (
        ground.database(jobs, worker.fill) as dsn,
        tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home,
        connect(dsn) as watch,
        connect(dsn) as gate,
    ):
        files = [Path(home) / str(number) for number in range(worker.processes)]
        last = gate.execute(system.last).fetchone()
        gate.execute("BEGIN; LOCK TABLE " + system.table + " IN ACCESS EXCLUSIVE MODE")
        with ExitStack() as stack:
            for number, file in enumerate(files):
                own = f"{dsn}?application_name=worker{number}"
                command = worker.command(own, file)
                ready = _waiting(watch, system, number + 1)
                stack.enter_context(running(command, worker.environment, ready))
            gate.execute("COMMIT")
            began = time.monotonic()
            _await_end(watch, system, last, began + LIMIT)
            seconds = time.monotonic() - began
        calls = sum(_calls(file) for file in files)
        done = watch.execute(system.done).fetchone()
    if (calls, done) != (jobs, (jobs,)):
        raise BenchFailed(
            f"{jobs} jobs were to be worked; {calls} calls were counted, completed are {done}"
        )
    return jobs / seconds


def _waiting(
    watch: psycopg.Connection[tuple[Any, ...]], system: System, processes: int
) -> Callable[[], bool]:
    def ready() -> bool:
        found = watch.execute(_WAITING, (system.table, system.claim)).fetchone()
        return found is not None and found[0] >= processes

    return ready


def _await_end(
    watch: psycopg.Connection[tuple[Any, ...]], system: System, last: Any, until: float
) -> None:
    """First the job that is claimed last, which is cheap to ask for; then all of them."""
    while watch.execute(system.settled, last).fetchone() != (True,) or watch.execute(
        system.left
    ).fetchone() != (False,):
        if time.monotonic() > until:
            raise BenchFailed(f"the backlog was not empty after {LIMIT:g} s")
        time.sleep(POLL)


def _calls(file: Path) -> int:
    try:
        return int(json.loads(file.read_text())["calls"])
    except FileNotFoundError:
        raise BenchFailed("a worker did not stop in time, or failed: it left no count") from None
