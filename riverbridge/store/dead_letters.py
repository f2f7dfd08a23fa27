"""Discarded jobs, grouped by what went wrong."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from riverbridge.model.error_class import error_class
from riverbridge.model.job_search import JobSearch
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import instant_of


class Letters(NamedTuple):
    """Jobs of one kind whose last error is of one class, "" for none. sample: the newest's id."""

    kind: str
    error: str
    jobs: int
    newest: datetime
    sample: int


class DeadLetters(NamedTuple):
    """The groups, the largest first. cut: there are older jobs, which were not looked at."""

    groups: list[Letters]
    cut: bool

    @property
    def jobs(self) -> int:
        """How many, in all groups."""
        return sum(group.jobs for group in self.groups)


def dead_letters(
    search: JobSearch, *, window: int, words_in_args: bool, schema: str | None
) -> Exchange[DeadLetters]:
    """Those of the newest `window` discarded jobs that match `search`."""
    values = search.parameters() | {"window": window, "words_in_args": words_in_args}
    rows = yield Query("job/dead_letters", values, schema)
    counted = next(jobs for kind, _, jobs, *_ in rows if kind is None)
    groups: dict[tuple[str, str], Letters] = {}
    for kind, error, jobs, newest, id in rows:
        if kind is None:
            continue
        name = (kind, error_class(error or ""))
        found = Letters(*name, jobs, instant_of(newest), id)
        groups[name] = _joined(groups[name], found) if name in groups else found
    ordered = sorted(groups.values(), key=lambda group: (-group.jobs, group.kind, group.error))
    return DeadLetters(ordered, counted > window)


def _joined(one: Letters, other: Letters) -> Letters:
    newer = max(one, other, key=lambda group: (group.newest, group.sample))
    return newer._replace(jobs=one.jobs + other.jobs)
