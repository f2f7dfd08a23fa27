"""`riverbridge bench order`: what the order of keys costs, beside the same backlog without it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from riverbridge.bench.drain import drain
from riverbridge.bench.ground import Ground, fill_river
from riverbridge.bench.mock_kafka import mock_kafka
from riverbridge.bench.usage import require_proc

KEYS = (200, 20_000)


@dataclass
class Compared:
    """Jobs per second of each round, by number of keys."""

    jobs: int
    unordered: dict[int, list[float]] = field(default_factory=dict)
    ordered: dict[int, list[float]] = field(default_factory=dict)

    def ratios(self, keys: int) -> list[float]:
        """With order over without, within each round."""
        return [a / b for a, b in zip(self.ordered[keys], self.unordered[keys], strict=True)]

    def figures(self) -> dict[str, float]:
        """What `--json` prints: medians of the rounds."""
        found: dict[str, float] = {}
        for keys in self.ordered:
            found[f"ordered_jobs_per_s_{keys}"] = round(statistics.median(self.ordered[keys]))
            found[f"unordered_jobs_per_s_{keys}"] = round(statistics.median(self.unordered[keys]))
            found[f"ordered_ratio_{keys}"] = round(statistics.median(self.ratios(keys)), 3)
        return found

    def text(self) -> str:
        """The report, for people."""
        lines = [f"{self.jobs:,} jobs to Kafka (mock), jobs per second, medians of the rounds"]
        for keys in self.ordered:
            lines.append(
                f"{keys:>7,} keys: ordered {statistics.median(self.ordered[keys]):>8,.0f}"
                f"   unordered {statistics.median(self.unordered[keys]):>8,.0f}"
                f"   ratio {_span(self.ratios(keys))}"
            )
        return "\n".join(lines)


def steps(rounds: int) -> int:
    """How often `measure` reports progress."""
    return rounds * len(KEYS) * 2


def measure(*, jobs: int, rounds: int, progress: Callable[[str], None]) -> Compared:
    """Empty the same backlogs with order and without, by turns.

    Raises PartMissing, ServerFailed and BenchFailed.
    """
    require_proc()
    found = Compared(jobs)
    fills = {keys: partial(fill_river, keys=keys) for keys in KEYS}
    with ExitStack() as stack:
        ground = stack.enter_context(Ground())
        servers = stack.enter_context(mock_kafka())
        for number in range(rounds):
            for keys, fill in fills.items():
                for ordered in (True, False) if number % 2 else (False, True):
                    what = "ordered" if ordered else "unordered"
                    progress(f"round {number + 1} of {rounds}: {keys:,} keys, {what}")
                    run = drain(ground, servers, jobs, delete=False, ordered=ordered, fill=fill)
                    rates = found.ordered if ordered else found.unordered
                    rates.setdefault(keys, []).append(run.jobs_per_s)
    return found


def _span(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
