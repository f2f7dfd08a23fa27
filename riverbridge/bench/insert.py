"""`riverbridge bench insert`: our clients beside River's own, in Go and in Python.

In each round all clients stand ready, each in a process of its own and before a fresh database, and
insert the same jobs by turns, a call at a time: what else the machine does, or how its speed
drifts, meets them all alike. Their order changes with each turn. Ratios are taken within a round,
and the figures are medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from riverbridge.bench import go_program
from riverbridge.bench.ground import BenchFailed, Ground, connect
from riverbridge.bench.insert_run import BATCH
from riverbridge.errors import PartMissing

SINGLES = 10
"""One job in so many is inserted where each has its own transaction."""

TURN_LIMIT = 60.0
"""Seconds for the calls of one turn."""

PAIRS = {
    "ratio_to_riverqueue_python": ("riverbridge many", "riverqueue many"),
    "ratio_to_river_go": ("riverbridge many", "River Go many"),
    "insert_many_fast_ratio": ("riverbridge fast", "River Go fast"),
    "single_ratio": ("riverbridge single", "River Go single"),
}
"""What is compared: client and method, ours first."""

RUNS = tuple(dict.fromkeys(run for pair in PAIRS.values() for run in pair))

Progress = Callable[[str], None]
"""Told of each round before it begins."""


@dataclass
class Measured:
    """Everything that was measured. rates: rows a second of each of `RUNS`, one per round."""

    jobs: int
    server: Mapping[str, str]
    indexes: Sequence[str]
    load: tuple[float, float, float]
    rates: dict[str, list[float]] = field(default_factory=lambda: {run: [] for run in RUNS})

    def ratios(self, name: str) -> list[float]:
        """Our rate over the other's, within each round."""
        ours, others = (self.rates[run] for run in PAIRS[name])
        return [mine / other for mine, other in zip(ours, others, strict=True)]

    def figures(self) -> dict[str, float]:
        """What `--json` prints: medians of the rounds."""
        rate = statistics.median(self.rates["riverbridge many"])
        return {"insert_many_rows_per_s": round(rate)} | {
            name: round(statistics.median(self.ratios(name)), 3) for name in PAIRS
        }


def steps(rounds: int) -> int:
    """How often `measure` reports progress."""
    return rounds


def measure(*, jobs: int, rounds: int, river_go: Path | None, progress: Progress) -> Measured:
    """Run everything, `jobs` a client and round. river_go: the program, if it is built already.

    Raises PartMissing, ServerFailed and BenchFailed.
    """
    with tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home:
        programs = commands(river_go, Path(home))
        with Ground() as ground:
            found = Measured(jobs, ground.settings(), ground.indexes(), os.getloadavg())
            for number in range(rounds):
                progress(f"round {number + 1} of {rounds}")
                for run, rate in one_round(ground, programs, jobs).items():
                    found.rates[run].append(rate)
    return found


def one_round(
    ground: Ground, programs: Mapping[str, Sequence[str]], jobs: int, runs: Sequence[str] = RUNS
) -> dict[str, float]:
    """Rows a second of each of `runs`. Raises BenchFailed if one left other rows than it should."""
    with ExitStack() as stack:
        inserters = []
        for run in runs:
            client, _, method = run.rpartition(" ")
            dsn = stack.enter_context(ground.database(0))
            size = BATCH // SINGLES if method == "single" else BATCH
            inserter = Inserter(run, [*programs[client], dsn, method], dsn, size)
            inserters.append(stack.enter_context(inserter))
        for inserter in inserters:
            inserter.turn()  # not counted: connections, plans, and the first pages of the table
            inserter.seconds = 0.0
        turns = jobs // BATCH
        for number in range(turns):
            place = number % len(inserters)
            order = inserters[place:] + inserters[:place]
            for inserter in order if number % 2 == 0 else reversed(order):
                inserter.turn()
        for inserter in inserters:
            inserter.check(inserter.size * (turns + 1))
        return {each.name: each.size * turns / each.seconds for each in inserters}


class Inserter:
    """A client in a process of its own, which inserts `size` jobs at each turn."""

    def __init__(self, name: str, command: Sequence[str], dsn: str, size: int) -> None:
        self.name = name
        self.size = size
        self.seconds = 0.0
        self._dsn = dsn
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the end of the block
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, or River's program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def turn(self) -> None:
        """Insert, and add what it took to `seconds`. Raises BenchFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watch = threading.Timer(TURN_LIMIT, self._process.kill)
        watch.start()
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.write(f"{self.size}\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            self._errors.seek(0)
            raise BenchFailed(f"{self.name} failed: {self._errors.read().strip()[-2000:]}")
        self.seconds += float(json.loads(line)["seconds"])

    def check(self, rows: int) -> None:
        """Raise BenchFailed unless so many rows are there, each of the stated size."""
        with connect(self._dsn) as connection:
            found = connection.execute(
                "SELECT count(*), round(avg(octet_length(args::text))) FROM river_job"
                " WHERE state = 'available'"
            ).fetchone()
        if found != (rows, 260):
            raise BenchFailed(
                f"{self.name}: {rows} jobs of 260 bytes should be there; "
                f"count and bytes are {found}"
            )


def commands(river_go: Path | None, home: Path) -> dict[str, list[str]]:
    """How each client is run. Raises PartMissing for one that is not here."""
    go = go_program.check(river_go) if river_go else go_program.build(home / "worker")
    tried = subprocess.run(
        [sys.executable, "-c", "import riverqueue.driver.riversqlalchemy"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if tried.returncode:
        why = tried.stderr.strip().rpartition("\n")[2]
        raise PartMissing(
            f"River's Python client cannot be imported ({why}). "
            "To get it: pip install riverqueue 'sqlalchemy[asyncio]'"
        )
    python = [sys.executable, "-m", "riverbridge.bench.insert_run"]
    return {
        "riverbridge": [*python, "riverbridge"],
        "riverqueue": [*python, "riverqueue"],
        "River Go": [str(go), "insert"],
    }
