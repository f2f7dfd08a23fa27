"""Discarded jobs, grouped by what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from riverbridge.model.error_class import error_class
from riverbridge.model.job_search import JobSearch
from riverbridge.store.exchange import Exchange, Query, Rows
from riverbridge.store.looks import next_window
from riverbridge.store.rows import instant_of

WINDOW = 1_000
"""Jobs of the first look."""

BUDGET = 1.0
"""Seconds for all looks."""


class Letters(NamedTuple):
    """Jobs of one kind whose last error is of one class, "" for none. sample: the newest's id."""

    kind: str
    error: str
    jobs: int
    newest: datetime
    sample: int


class DeadLetters(NamedTuple):
    """The groups, the largest first. looked: jobs looked at. cut: there are older ones."""

    groups: list[Letters]
    looked: int
    cut: bool

    @property
    def jobs(self) -> int:
        """How many, in all groups."""
        return sum(group.jobs for group in self.groups)


def dead_letters(
    search: JobSearch,
    *,
    most: int,
    words_in_args: bool,
    budget: float = BUDGET,
    monotonic: Callable[[], float] = time.monotonic,
    schema: str | None,
) -> Exchange[DeadLetters]:
    """Those of the newest `most` discarded jobs that match `search`, or of as many as there is time
    to look at."""
    values = search.parameters() | {"words_in_args": words_in_args}
    groups: dict[tuple[str, str], Letters] = {}
    looked, window = 0, WINDOW
    place: dict[str, Any] = {"after_id": None, "after_time": None}
    until = monotonic() + budget
    while True:
        began = monotonic()
        asked = min(window, most - looked)
        rows = yield Query("job/dead_letters", values | place | {"window": asked}, schema)
        seen = _gather(rows, groups, place)
        looked += seen
        if seen < asked:
            return DeadLetters(_ordered(groups), looked, False)
        if looked == most or monotonic() > until:
            break
        window = next_window(window, monotonic() - began)
    rows = yield Query("job/dead_letters", values | place | {"window": 1}, schema)
    return DeadLetters(_ordered(groups), looked, bool(_gather(rows, {}, place)))


def _gather(rows: Rows, groups: dict[tuple[str, str], Letters], place: dict[str, Any]) -> int:
    """Add what a look has found to the groups, and the place where the next begins; how many jobs
    it was at."""
    seen = 0
    for kind, error, jobs, newest, id in rows:
        if kind is None:
            seen = jobs
            place |= {"after_id": id, "after_time": newest}
            continue
        name = (kind, error_class(error or ""))
        found = Letters(*name, jobs, instant_of(newest), id)
        groups[name] = _joined(groups[name], found) if name in groups else found
    return seen


def _ordered(groups: dict[tuple[str, str], Letters]) -> list[Letters]:
    return sorted(groups.values(), key=lambda group: (-group.jobs, group.kind, group.error))


def _joined(one: Letters, other: Letters) -> Letters:
    newer = max(one, other, key=lambda group: (group.newest, group.sample))
    return newer._replace(jobs=one.jobs + other.jobs)
