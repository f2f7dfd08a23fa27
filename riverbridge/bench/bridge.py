"""`riverbridge bench bridge`: the bridge beside what its database alone can do.

Each round empties the same backlog five times: by the bridge and by its own SQL, completing and
deleting, and by River's SQL. The order turns from round to round, as the machine's speed drifts;
ratios are taken within a round, and the figures are medians.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from riverbridge.bench import pgbench
from riverbridge.bench.drain import Drained, drain
from riverbridge.bench.ground import Ground
from riverbridge.bench.mock_kafka import mock_kafka
from riverbridge.bench.trickle import Trickled, cost, latency, timed_bridge
from riverbridge.bench.usage import require_proc

LOW, HIGH = 200, 2000
"""Jobs a second of the runs in which jobs come one by one."""

Progress = Callable[[str], None]
"""Told of each run before it begins."""


@dataclass
class Measured:
    """Everything that was measured. The lists have one entry per round."""

    jobs: int
    server: Mapping[str, str]
    indexes: Sequence[str]
    load: tuple[float, float, float]
    engine: list[Drained] = field(default_factory=list)
    engine_delete: list[Drained] = field(default_factory=list)
    ceiling: list[float] = field(default_factory=list)
    ceiling_delete: list[float] = field(default_factory=list)
    river: list[float] = field(default_factory=list)
    low: Trickled | None = None
    high: Trickled | None = None

    def ratios(self) -> dict[str, list[float]]:
        """The bridge over what it is compared with, within each round."""
        rates = [run.jobs_per_s for run in self.engine]
        delete = [run.jobs_per_s for run in self.engine_delete]
        return {
            "ratio_to_ceiling": _over(rates, self.ceiling),
            "ratio_to_river_sql": _over(rates, self.river),
            "delete_ratio_to_ceiling": _over(delete, self.ceiling_delete),
        }

    def figures(self) -> dict[str, float]:
        """What `--json` prints: medians of the rounds."""
        assert self.low is not None
        assert self.high is not None
        ratios = {name: statistics.median(values) for name, values in self.ratios().items()}
        return {
            "jobs_per_s": round(statistics.median(run.jobs_per_s for run in self.engine)),
            "sql_ceiling_jobs_per_s": round(statistics.median(self.ceiling)),
            "ratio_to_ceiling": round(ratios["ratio_to_ceiling"], 3),
            "river_sql_jobs_per_s": round(statistics.median(self.river)),
            "ratio_to_river_sql": round(ratios["ratio_to_river_sql"], 3),
            "delete_ratio_to_ceiling": round(ratios["delete_ratio_to_ceiling"], 3),
            "p50_ms": round(self.low.percentile(50), 3),
            "p99_ms": round(self.low.percentile(99), 3),
            f"cpu_us_per_job_{LOW}": round(self.low.cpu_us, 1),
            f"cpu_us_per_job_{HIGH}": round(self.high.cpu_us, 1),
            "wal_bytes_per_job": round(statistics.median(r.wal_bytes_per_job for r in self.engine)),
            "rss_mib": round(max(run.rss_mib for run in self.engine), 1),
        }


def steps(rounds: int) -> int:
    """How often `measure` reports progress."""
    return rounds * 5 + 2


def measure(*, jobs: int, rounds: int, seconds: float, progress: Progress) -> Measured:
    """Run everything. `seconds` is how long jobs come one by one, at each of the two rates.

    Raises PartMissing, ServerFailed and BenchFailed.
    """
    require_proc()
    with ExitStack() as stack:
        ground = Ground()
        pgbench.find_pgbench(ground.server.bin_dir)
        stack.enter_context(ground)
        servers = stack.enter_context(mock_kafka())
        found = Measured(jobs, ground.settings(), ground.indexes(), os.getloadavg())
        runs: list[tuple[str, Callable[[], None]]] = [
            ("the bridge", lambda: found.engine.append(drain(ground, servers, jobs, delete=False))),
            ("its SQL", lambda: found.ceiling.append(pgbench.ceiling(ground, jobs, "complete"))),
            ("River's SQL", lambda: found.river.append(pgbench.river(ground, jobs))),
            (
                "the bridge, deleting",
                lambda: found.engine_delete.append(drain(ground, servers, jobs, delete=True)),
            ),
            (
                "its SQL, deleting",
                lambda: found.ceiling_delete.append(pgbench.ceiling(ground, jobs, "delete")),
            ),
        ]
        for number in range(rounds):
            turn = number % len(runs)
            for what, run in runs[turn:] + runs[:turn]:
                progress(f"round {number + 1} of {rounds}: {what}")
                run()
        progress(f"{LOW} jobs a second for {seconds:g} s")
        found.low = latency(ground, timed_bridge(servers), LOW, seconds)
        progress(f"{HIGH} jobs a second for {seconds:g} s")
        found.high = cost(ground, timed_bridge(servers), HIGH, seconds)
    return found


def _over(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    return [mine / other for mine, other in zip(ours, others, strict=True)]
