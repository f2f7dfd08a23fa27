"""The queues that the work bench compares: their tables and their workers, and where those are.

River's Go worker is built, and the Python queues are in virtual environments that `make
bench-peers` makes. Their settings are those their own pages advise; docs/performance.md names them.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

from riverbridge.bench.ground import QUEUE, BenchFailed, Fill, connect, fill_river
from riverbridge.bench.order import fields
from riverbridge.bench.service import PYTHONPATH
from riverbridge.bench.work_drain import System, Worker
from riverbridge.embedded.process import plain_environment
from riverbridge.errors import PartMissing

PEERS_HOME = Path(__file__).parents[2] / ".venv/peers"
"""Where `make bench-peers` puts them in a source checkout."""

PROGRAM = Path(__file__).with_name("work_peer.py")

Setting = tuple[int, int]
"""Consumers or jobs at once, and jobs per claim (0: the queue has no such setting)."""

RIVER = System(
    table="river_job",
    claim="%SKIP LOCKED%",
    last="SELECT max(id) FROM river_job",
    settled="SELECT state = 'completed' FROM river_job WHERE id = %s",
    left="SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))",
    done="SELECT count(*) FROM river_job WHERE state = 'completed'",
)
PGQUEUER = System(
    table="pgqueuer",
    claim="%SKIP LOCKED%",
    last="SELECT max(id) FROM pgqueuer",
    settled="SELECT NOT EXISTS (SELECT FROM pgqueuer WHERE id = %s)",
    left="SELECT EXISTS (SELECT FROM pgqueuer)",
    done="SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'",
)
OBAN = System(
    table="oban_jobs",
    claim="%SKIP LOCKED%",
    last="SELECT max(id) FROM oban_jobs",
    settled="SELECT state = 'completed' FROM oban_jobs WHERE id = %s",
    left="SELECT EXISTS (SELECT FROM oban_jobs WHERE state IN ('available', 'executing'))",
    done="SELECT count(*) FROM oban_jobs WHERE state = 'completed'",
)
PROCRASTINATE = System(
    table="procrastinate_jobs",
    claim="%procrastinate_fetch_job%",
    last="SELECT max(id) FROM procrastinate_jobs",
    settled="SELECT status = 'succeeded' FROM procrastinate_jobs WHERE id = %s",
    left="SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
    done="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
)


@dataclass(frozen=True)
class Peer:
    """A Python queue.

    name: of its environment. program: of work_peer.py. stored: jobs in the table, and the bytes of
    args of one on average. used: the best of `swept` in an earlier sweep. share: the backlog of a
    slow queue is smaller by this, to its advantage if anything.
    """

    name: str
    program: str
    system: System
    stored: LiteralString
    processes: int
    used: Setting
    swept: Sequence[Setting]
    share: int = 1


_PAYLOAD: LiteralString = "SELECT count(*), round(avg(octet_length(payload))) FROM pgqueuer"
PEERS = {
    "pgqueuer": Peer(
        "pgqueuer", "pgqueuer-psycopg", PGQUEUER, _PAYLOAD, processes=1, used=(5, 1000),
        swept=[(consumers, batch) for consumers in (1, 5) for batch in (10, 100, 1000)],
    ),
    "pgqueuer_best": Peer(
        "pgqueuer", "pgqueuer-asyncpg", PGQUEUER, _PAYLOAD, processes=2, used=(1, 1000),
        swept=[(consumers, batch) for consumers in (1, 3) for batch in (10, 100, 1000)],
    ),
    "oban": Peer(
        "oban", "oban", OBAN,
        "SELECT count(*), round(avg(octet_length(args::text))) FROM oban_jobs",
        processes=2, used=(100, 0), swept=[(limit, 0) for limit in (10, 100, 1000)], share=4,
    ),
    "procrastinate": Peer(
        "procrastinate", "procrastinate", PROCRASTINATE,
        "SELECT count(*), round(avg(octet_length(args::text))) FROM procrastinate_jobs",
        processes=2, used=(30, 0), swept=[(limit, 0) for limit in (10, 30, 90)], share=20,
    ),
}  # fmt: skip

GO = {
    "River Go, 500 workers": (1, 500),
    "River Go, 2,000 workers": (1, 2000),
    "River Go, 2 clients of 1,000": (2, 1000),
}
"""Clients, each with a pool of its own, and the workers of each."""


def river_python(mode: str) -> Worker:
    """Our own worker; mode: see work_run.py."""
    module = [sys.executable, "-m", "riverbridge.bench.work_run", mode]
    return Worker(
        RIVER,
        fill_river,
        lambda dsn, file: [*module, dsn, str(file)],
        plain_environment(PYTHONPATH=PYTHONPATH),
    )


def river_go(program: Path, clients: int, workers: int) -> Worker:
    """River's own worker; program: tests/interop/worker, built."""
    ends = [QUEUE, str(clients), str(workers)]
    return Worker(
        RIVER, fill_river, lambda dsn, file: [str(program), "drain", dsn, str(file), *ends]
    )


def python_of(peer: Peer, home: Path) -> Path:
    """The interpreter that has it installed. Raises PartMissing, saying how to get it."""
    python = home / peer.name / "bin/python"
    if not os.access(python, os.X_OK):
        raise PartMissing(
            f"{peer.name} is not in {home / peer.name}. To get it, in a source checkout: "
            "make bench-peers"
        )
    return python


def python_peer(peer: Peer, python: Path, setting: Setting) -> Worker:
    """A worker of another queue."""
    width, batch = map(str, setting)
    return Worker(
        peer.system,
        _fill(python, peer.program, peer.stored),
        lambda dsn, file: [*_program(python, peer.program), "work", dsn, str(file), width, batch],
        processes=peer.processes,
        share=peer.share,
    )


@functools.cache
def _fill(python: Path, program: str, stored: LiteralString) -> Fill:
    """The same function each time, so that its databases are made once."""

    def fill(dsn: str, jobs: int) -> None:
        orders = "\n".join(json.dumps(fields(number)) for number in range(jobs))
        done = subprocess.run(  # noqa: S603 - a program of ours
            [*_program(python, program), "fill", dsn], env=plain_environment(), input=orders,
            capture_output=True, text=True, timeout=120 + jobs / 500, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchFailed(f"{program} cannot insert: {done.stderr.strip()[-2000:]}")
        with connect(dsn) as connection:
            found = connection.execute(stored).fetchone()
        if found != (jobs, 260):
            raise BenchFailed(f"{jobs} jobs of 260 bytes should be there; {program} left {found}")

    return fill


def _program(python: Path, name: str) -> list[str]:
    return [str(python), "-P", str(PROGRAM), name]
