"""`riverbridge bench work`: our worker beside River's own and other Python queues'.

Each round empties the same backlog by every worker, each in a fresh database with its queue's own
schema. The order turns from round to round, and every other round goes backwards, as the machine's
speed drifts; ratios are taken within a round, and the figures are medians.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from riverbridge.bench import go_program, pgbench
from riverbridge.bench.ground import Ground
from riverbridge.bench.trickle import Trickled, latency
from riverbridge.bench.work_drain import Worker, jobs_per_s
from riverbridge.bench.work_system import (
    GO,
    PEERS,
    PEERS_HOME,
    Setting,
    python_of,
    python_peer,
    river_go,
    river_python,
)
from riverbridge.errors import PartMissing

RATE = 200
"""Jobs a second where they come one by one."""

OURS, SQL, SLOW, LEASED = "riverbridge", "River's SQL", "2 s", "2 s, leased"
PICK_UP = "one by one"
RUNS = (OURS, SQL, *GO, *PEERS, SLOW, LEASED, PICK_UP)
"""What a round runs. SLOW, LEASED: ours, jobs of 2 s; without and with leases from the start.
PICK_UP: ours, jobs that come one by one."""

SWEPT = 4
"""A sweep's backlogs are smaller by this."""

Progress = Callable[[str], None]
"""Told of each run before it begins."""


@dataclass(frozen=True)
class Scope:
    """How much is run.

    jobs, slow_jobs: of a backlog. seconds: how long jobs come one by one, all rounds together.
    sweep: try the settings of the Python queues first, and use the best.
    """

    jobs: int
    slow_jobs: int
    rounds: int
    seconds: float
    sweep: bool


@dataclass
class Measured:
    """Everything that was measured.

    rates: jobs a second of each run, one per round; what is missing has none. missing: why.
    settings: of each Python queue. swept: jobs a second of each setting that was tried. pick_ups:
    jobs that came one by one, a run per round.
    """

    scope: Scope
    server: Mapping[str, str]
    indexes: Sequence[str]
    load: tuple[float, float, float]
    missing: Mapping[str, str]
    settings: dict[str, Setting] = field(default_factory=dict)
    swept: dict[str, dict[Setting, float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=lambda: {run: [] for run in RUNS})
    pick_ups: list[Trickled] = field(default_factory=list)

    def ratios(self) -> dict[str, list[float]]:
        """Ours over the others', within each round; River Go is the best of its three each time."""
        go = [max(rates) for rates in zip(*(self.rates[run] for run in GO), strict=True)]
        others = {"river_sql": self.rates[SQL], "river_go": go}
        others |= {peer: self.rates[peer] for peer in PEERS}
        pairs = {f"ratio_to_{name}": (self.rates[OURS], rates) for name, rates in others.items()}
        pairs["slow_jobs_ratio"] = self.rates[SLOW], self.rates[LEASED]
        return {
            name: [mine / other for mine, other in zip(ours, theirs, strict=True)]
            for name, (ours, theirs) in pairs.items()
            if theirs
        }

    def figures(self) -> dict[str, float | None]:
        """What `--json` prints: medians of the rounds, None for what is missing."""
        ratios = {name: statistics.median(values) for name, values in self.ratios().items()}
        names = ["river_sql", "river_go", *PEERS]
        return {
            "jobs_per_s": round(statistics.median(self.rates[OURS])),
            "river_sql_jobs_per_s": round(statistics.median(self.rates[SQL])),
            **{f"ratio_to_{name}": _rounded(ratios.get(f"ratio_to_{name}")) for name in names},
            "slow_jobs_ratio": _rounded(ratios["slow_jobs_ratio"]),
            "p50_ms": round(statistics.median(self.late(50)), 3),
            "p99_ms": round(statistics.median(self.late(99)), 3),
        }

    def late(self, percent: int) -> list[float]:
        """That percentile of each round, in milliseconds from COMMIT's return to the function."""
        return [each.percentile(percent) for each in self.pick_ups]


def steps(scope: Scope) -> int:
    """How often `measure` reports progress, if nothing is missing."""
    swept = sum(len(peer.swept) for peer in PEERS.values())
    return scope.rounds * len(RUNS) + scope.sweep * swept


def measure(scope: Scope, *, go: Path | None, peers: Path | None, progress: Progress) -> Measured:
    """Run everything. go: River's program, if it is built already. peers: instead of PEERS_HOME.

    Raises PartMissing, ServerFailed and BenchFailed.
    """
    with tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home, Ground() as ground:
        pgbench.find_pgbench(ground.server.bin_dir)
        pythons, program, missing = find(peers or PEERS_HOME, go, Path(home))
        found = Measured(scope, ground.settings(), ground.indexes(), os.getloadavg(), missing)
        for name, python in pythons.items():
            found.settings[name] = PEERS[name].used
            if scope.sweep:
                found.swept[name] = _swept(ground, name, python, scope.jobs // SWEPT, progress)
                found.settings[name] = max(found.swept[name], key=found.swept[name].__getitem__)
        workers = _workers(found, pythons, program)
        for number in range(scope.rounds):
            for run in _order(number):
                progress(f"round {number + 1} of {scope.rounds}: {run}")
                if run == PICK_UP:
                    found.pick_ups.append(_pick_up(ground, scope.seconds / scope.rounds))
                elif run == SQL:
                    found.rates[run].append(pgbench.river(ground, scope.jobs))
                elif run in workers:
                    backlog = scope.slow_jobs if run in (SLOW, LEASED) else scope.jobs
                    found.rates[run].append(jobs_per_s(ground, workers[run], backlog))
    return found


def _pick_up(ground: Ground, seconds: float) -> Trickled:
    worker = river_python("latency")
    return latency(
        ground, lambda dsn, file: (worker.command(dsn, file), worker.environment), RATE, seconds
    )


def find(
    peers: Path, go: Path | None, home: Path
) -> tuple[dict[str, Path], Path | None, dict[str, str]]:
    """The interpreter of each Python queue, River's program, and why any of them is missing.

    Raises PartMissing for what RIVERBRIDGE_REQUIRE names.
    """
    required = {name.strip() for name in os.environ.get("RIVERBRIDGE_REQUIRE", "").split(",")}
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    program: Path | None = None
    for key, peer in PEERS.items():
        try:
            pythons[key] = python_of(peer, peers)
        except PartMissing as error:
            if peer.name in required:
                raise
            missing[key] = str(error)
    try:
        program = go_program.check(go) if go else go_program.build(home / "worker")
    except PartMissing as error:
        if "go" in required:
            raise
        missing["river_go"] = str(error)
    return pythons, program, missing


def _workers(
    found: Measured, pythons: Mapping[str, Path], program: Path | None
) -> dict[str, Worker]:
    """Those that are here, by the name of their run."""
    workers = {
        OURS: river_python("drain"),
        SLOW: river_python("slow"),
        LEASED: river_python("leased"),
    }
    if program is not None:
        workers |= {run: river_go(program, *sizes) for run, sizes in GO.items()}
    for name, python in pythons.items():
        workers[name] = python_peer(PEERS[name], python, found.settings[name])
    return workers


def _swept(
    ground: Ground, name: str, python: Path, jobs: int, progress: Progress
) -> dict[Setting, float]:
    rates = {}
    for setting in PEERS[name].swept:
        progress(f"{name} with {setting}")
        rates[setting] = jobs_per_s(ground, python_peer(PEERS[name], python, setting), jobs)
    return rates


def _order(number: int) -> Iterator[str]:
    turn = number % len(RUNS)
    order = RUNS[turn:] + RUNS[:turn]
    return iter(order if number % 2 == 0 else order[::-1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
