"""Ids that were passed over because nobody had them yet: taken by a transaction that is open, or by
one that rolled back. They are taken before the commit, so a lower one may appear after a higher."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Collection

import msgspec

log = logging.getLogger(__name__)

MOST = 5000
"""Ranges remembered. Beyond that the oldest are given up: a sweep finds what appears there."""


class _Cohort(msgspec.Struct):
    """Ranges found at about the same time, and the transactions that were open then."""

    ranges: list[tuple[int, int]]
    writers: frozenset[str] | None = None
    over: bool = False
    """Those transactions have ended: what is not there at the next look will never be."""


class Missing:
    """The ids to look for again, as ranges with both ends."""

    def __init__(self) -> None:
        self._cohorts: list[_Cohort] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._cohorts)

    def add(self, low: int, high: int) -> None:
        """Nobody has these. Higher than all that were added before."""
        if not self._cohorts or self._cohorts[-1].writers is not None:
            self._cohorts.append(_Cohort([]))
        self._cohorts[-1].ranges.append((low, high))
        self._count += 1
        if self._count > MOST and len(self._cohorts) > 1:
            given_up = self._cohorts.pop(0)
            self._count -= len(given_up.ranges)
            log.warning(
                "more than %d ids are missing while transactions that insert jobs stay open; jobs "
                "that they commit with ids up to %d may be overtaken",
                MOST,
                given_up.ranges[-1][1],
            )

    def ranges(self) -> list[tuple[int, int]]:
        """Where to look."""
        return [found for cohort in self._cohorts for found in cohort.ranges]

    def writing(self, writers: frozenset[str]) -> None:
        """The transactions open now, asked for after all that was added was missed."""
        for cohort in self._cohorts:
            if cohort.writers is None:
                cohort.writers = writers
            cohort.over = not cohort.writers & writers

    def looked(self, found: Collection[int]) -> None:
        """All ranges were looked at since `writing`, and `found` is what appeared there."""
        self.appeared(found)
        self._cohorts = [cohort for cohort in self._cohorts if not cohort.over and cohort.ranges]
        self._count = sum(len(cohort.ranges) for cohort in self._cohorts)

    def appeared(self, found: Collection[int]) -> None:
        """These have come, and are not missing any more."""
        for id_ in found:
            for cohort in self._cohorts:
                place = bisect_right(cohort.ranges, (id_, id_)) - 1
                for at in (place, place + 1):
                    if 0 <= at < len(cohort.ranges):
                        low, high = cohort.ranges[at]
                        if low <= id_ <= high:
                            rest = [(low, id_ - 1), (id_ + 1, high)]
                            cohort.ranges[at : at + 1] = [r for r in rest if r[0] <= r[1]]
                            break
