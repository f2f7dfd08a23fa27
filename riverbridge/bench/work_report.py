"""What the work bench measured, as text: medians with ranges, and under what conditions."""

from __future__ import annotations

from collections.abc import Iterator

from riverbridge.bench import pgbench
from riverbridge.bench.report import conditions, spread
from riverbridge.bench.work import LEASED, OURS, RATE, SLOW, SQL, Measured
from riverbridge.bench.work_system import PEERS, Setting

_RATIOS = {
    "ratio_to_river_sql": "River's SQL",
    "ratio_to_river_go": "River Go, the best of each round",
    "ratio_to_pgqueuer": "pgqueuer",
    "ratio_to_pgqueuer_best": "pgqueuer, two processes",
    "ratio_to_oban": "oban",
    "ratio_to_procrastinate": "procrastinate",
}


def text(measured: Measured) -> str:
    """A few tables, for people."""
    shared = conditions(measured.server, measured.indexes, measured.load, "server and workers")
    parts = [shared, _missing(measured), _swept(measured), _backlog(measured), _others(measured)]
    return "\n\n".join(filter(None, ("\n".join(part) for part in parts)))


def _missing(measured: Measured) -> Iterator[str]:
    for name, why in measured.missing.items():
        yield f"{name} is left out: {why}"


def _swept(measured: Measured) -> Iterator[str]:
    for name, rates in measured.swept.items():
        shown = ", ".join(f"{_setting(each)}: {rate:,.0f}" for each, rate in rates.items())
        yield f"{name} by setting, jobs/s, one run each: {shown}"


def _backlog(measured: Measured) -> Iterator[str]:
    scope = measured.scope
    yield (
        f"A backlog of {scope.jobs:,} no-op jobs of 260 bytes: median of {scope.rounds} rounds "
        f"[range]; in each run completed rows = calls = backlog"
    )
    for run, rates in measured.rates.items():
        if rates and run not in (SLOW, LEASED):
            yield f"  {_label(measured, run):60}{spread(rates, 9, ',.0f')} jobs/s"
    for name, values in measured.ratios().items():
        if name in _RATIOS:
            yield f"  {'riverbridge / ' + _RATIOS[name]:60}{spread(values, 9, '.2f')}"


def _others(measured: Measured) -> Iterator[str]:
    scope = measured.scope
    yield f"{scope.slow_jobs:,} jobs of 2 s, 500 at once"
    yield f"  {'riverbridge':60}{spread(measured.rates[SLOW], 9, ',.1f')} jobs/s"
    yield f"  {'with a lease from the start':60}{spread(measured.rates[LEASED], 9, ',.1f')} jobs/s"
    yield f"  {'ratio':60}{spread(measured.ratios()['slow_jobs_ratio'], 9, '.2f')}"
    yield (
        f"{RATE} jobs a second for {scope.seconds / scope.rounds:g} s in each round, from COMMIT's "
        f"return to the function's beginning"
    )
    for percent in (50, 99):
        yield f"  {f'p{percent}':60}{spread(measured.late(percent), 9, '.2f')} ms"


def _label(measured: Measured, run: str) -> str:
    if run == OURS:
        return "riverbridge, one process"
    if run == SQL:
        return f"{SQL} (claim, set state), {pgbench.CLIENTS} clients of pgbench"
    if run not in PEERS:
        return run
    peer = PEERS[run]
    part = f", 1/{peer.share} of the jobs" if peer.share > 1 else ""
    processes = f"{peer.processes} process" + "es" * (peer.processes > 1)
    return f"{peer.program}, {processes} of {_setting(measured.settings[run])}{part}"


def _setting(setting: Setting) -> str:
    width, batch = setting
    return f"{width} x {batch}" if batch else str(width)
