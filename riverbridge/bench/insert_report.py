"""What the insert bench measured, as text: medians with ranges, and under what conditions."""

from __future__ import annotations

from collections.abc import Iterator

from riverbridge.bench.insert import PAIRS, SINGLES, Measured
from riverbridge.bench.insert_run import BATCH
from riverbridge.bench.report import conditions, spread

_CALLS = {
    "riverbridge many": "riverbridge insert_many",
    "riverqueue many": "riverqueue (Python) insert_many",
    "River Go many": "River Go InsertMany",
    "riverbridge fast": "riverbridge insert_many_fast",
    "River Go fast": "River Go InsertManyFast",
    "riverbridge single": "riverbridge insert",
    "River Go single": "River Go Insert",
}


def text(measured: Measured) -> str:
    """One table, for people."""
    shared = conditions(measured.server, measured.indexes, measured.load, "server and client")
    return "\n".join([*shared, "", *_table(measured)])


def _table(measured: Measured) -> Iterator[str]:
    rounds = len(measured.rates["riverbridge many"])
    yield (
        f"{measured.jobs:,} jobs of 260 bytes, {BATCH:,} a call, a connection, one at a time; of "
        f"single inserts one in {SINGLES}, each committed. Median of {rounds} rounds [range]"
    )
    for run, rates in measured.rates.items():
        yield f"  {_CALLS[run]:34}{spread(rates, 9, ',.0f')} rows/s"
    for name, (ours, other) in PAIRS.items():
        label = f"{_CALLS[ours]} / {_CALLS[other]}"
        yield f"  {label:62}{spread(measured.ratios(name), 6, '.2f')}"
