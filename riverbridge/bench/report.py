"""What was measured, as text: medians with ranges, and under what conditions."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence

from riverbridge.bench import mock_kafka, pgbench, trickle
from riverbridge.bench.bridge import HIGH, LOW, Measured
from riverbridge.bench.drain import Drained
from riverbridge.bench.trickle import Trickled


def text(measured: Measured) -> str:
    """A few tables, for people."""
    return "\n".join([*_conditions(measured), "", *_backlog(measured), "", *_trickle(measured)])


def conditions(
    server: Mapping[str, str], indexes: Sequence[str], load: Sequence[float], sharing: str
) -> Iterator[str]:
    """What a bench ran on. sharing: who shares the cores."""
    settings = dict(server)
    yield (
        f"Postgres {settings.pop('version')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores shared by {sharing}; "
        f"load before: {', '.join(f'{value:.1f}' for value in load)}"
    )
    yield "  " + ", ".join(f"{name} = {value}" for name, value in settings.items())
    yield f"  stock indexes: {', '.join(indexes)}"


def spread(values: Sequence[float], width: int, form: str) -> str:
    """Their median, right-aligned, and their range."""
    middle = f"{statistics.median(values):{form}}"
    return f"{middle:>{width}}  [{min(values):{form}}-{max(values):{form}}]"


def _conditions(measured: Measured) -> Iterator[str]:
    sharing = "server, client and broker"
    yield from conditions(measured.server, measured.indexes, measured.load, sharing)
    yield (
        f"librdkafka's mock cluster, {mock_kafka.BROKERS} brokers in a process of their own, "
        "acks=all"
    )


def _backlog(measured: Measured) -> Iterator[str]:
    rounds = len(measured.engine)
    yield (
        f"A backlog of {measured.jobs:,} jobs of 260 bytes: median of {rounds} rounds [range]; "
        f"SQL by pgbench, {pgbench.CLIENTS} connections, batches of {pgbench.BATCH}"
    )
    yield _rates("the bridge to Kafka", [run.jobs_per_s for run in measured.engine])
    yield _rates("its SQL alone (claim, complete)", measured.ceiling)
    yield _rates("River's SQL (claim, set state)", measured.river)
    yield _rates("the bridge, on_success=delete", [r.jobs_per_s for r in measured.engine_delete])
    yield _rates("its SQL alone (claim, delete)", measured.ceiling_delete)
    for name, label in (
        ("ratio_to_ceiling", "the bridge / its SQL"),
        ("ratio_to_river_sql", "the bridge / River's SQL"),
        ("delete_ratio_to_ceiling", "deleting: the bridge / its SQL"),
    ):
        yield f"  {label:34}{spread(measured.ratios()[name], 9, '.2f')}"
    yield _drained("the bridge, per job", measured.engine)
    yield _drained("deleting, per job", measured.engine_delete)


def _trickle(measured: Measured) -> Iterator[str]:
    low, high = measured.low, measured.high
    assert low is not None
    assert high is not None
    yield (
        f"Each transaction announced; {LOW}/s from one connection, one job per transaction, "
        f"{HIGH}/s from {trickle.CLIENTS} (pgbench), {trickle.BURST} jobs per transaction"
    )
    yield (
        f"  {LOW}/s: COMMIT's return to the delivery report, ms: p50 {low.percentile(50):.2f}, "
        f"p99 {low.percentile(99):.2f}, max {max(low.late_ms):.2f}"
    )
    for rate, run in ((LOW, low), (HIGH, high)):
        yield _cost(rate, run)
    yield "  (the server's part without the backends that insert)"


def _rates(label: str, rates: Sequence[float]) -> str:
    return f"  {label:34}{spread(rates, 9, ',.0f')} jobs/s"


def _drained(label: str, runs: Sequence[Drained]) -> str:
    bridge = statistics.median(run.bridge_us for run in runs)
    server = statistics.median(run.server_us for run in runs)
    wal = statistics.median(run.wal_bytes_per_job for run in runs)
    peak = max(run.rss_mib for run in runs)
    return (
        f"  {label}: CPU {bridge:.1f} us bridge + {server:.1f} us Postgres, WAL {wal:,.0f} bytes; "
        f"peak {peak:.0f} MiB"
    )


def _cost(rate: int, run: Trickled) -> str:
    short = ""
    if min(run.jobs_per_s, run.inserted_per_s) < 0.95 * rate:
        short = f" (only {run.inserted_per_s:.0f}/s inserted, {run.jobs_per_s:.0f}/s delivered)"
    return (
        f"  {rate}/s: CPU per job {run.cpu_us:.0f} us = {run.bridge_us:.0f} bridge + "
        f"{run.server_us:.0f} Postgres{short}"
    )
