"""How much a lane claims from a feed at once, from where, and whether it leases from the start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from riverbridge.engine.batch import Claiming
from riverbridge.model.job import ClaimedJob
from riverbridge.store.jobs import EVERYTHING

FIRST_LIMIT = 100
"""Rows of the first claim, before anything is known of their size."""

FULL_LOOK = 1.0
"""Seconds between claims that ignore the floors."""

SLOW_AFTER = 2
"""So many batches in a row past `hold`, and the feed is leased from the start."""

QUICK_AFTER = 5
"""So many leased batches in a row well inside `hold`, and it is not any more."""


class Pace:
    """What the lanes of a process have learned of one feed.

    Lanes read and write it without a lock: each field is a hint, and a lost update costs one batch
    of another size or one full look more.
    """

    def __init__(
        self,
        *,
        claiming: Claiming,
        batch_size: int,
        batch_bytes: int,
        hold: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claiming = claiming
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._hold = hold
        self._clock = clock
        self._limit = min(FIRST_LIMIT, batch_size)
        self._floors: list[str] = [EVERYTHING] * 4
        self._looked = float("-inf")
        self._late = 0
        self._quick = 0
        self.trusted = False
        """Whether the last batch was delivered whole, so that the next may be settled ahead."""

    @property
    def limit(self) -> int:
        """Rows to ask for."""
        return self._limit

    @property
    def lease_first(self) -> bool:
        """Whether to lease before handing over."""
        if self._claiming == "auto":
            return self._late >= SLOW_AFTER
        return self._claiming == "lease"

    def floors(self) -> tuple[Sequence[str], bool]:
        """The floors for the next claim, and whether it is a full look (all floors down)."""
        now = self._clock()
        if now - self._looked >= FULL_LOOK:
            self._looked = now
            return [EVERYTHING] * 4, True
        return list(self._floors), False

    def claimed(self, jobs: Sequence[ClaimedJob], *, limit: int, full_look: bool) -> bool:
        """Learn from a claim; returns whether there may well be more to claim at once.

        A full look that fills its batch may have more below the old floors, so they come down to
        where it ended; otherwise floors only rise.
        """
        if not jobs:
            return False
        size = sum(_octets(job.args) for job in jobs)
        more = len(jobs) >= limit or size >= self._batch_bytes
        last = {job.priority: job for job in jobs}
        for priority, job in last.items():
            text = job.scheduled_at.isoformat()
            known = self._floors[priority - 1]
            if (full_look and more) or known == EVERYTHING or text > known:
                self._floors[priority - 1] = text
        fitting = self._batch_bytes * len(jobs) // max(1, size)
        # Growing by four a step meets the size of large args before the memory does.
        self._limit = max(
            1, min(self._batch_size, fitting, self._limit * 4 if more else self._limit)
        )
        return more

    def delivered(self, seconds: float, *, leased: bool, answered: bool = True) -> None:
        """Learn how long a batch was out, and whether it was answered when that time was up."""
        if not answered or seconds > self._hold:
            self._late += 1
            self._quick = 0
        elif not leased:
            self._late = 0
        elif seconds < self._hold / 2:
            self._quick += 1
            if self._quick >= QUICK_AFTER:
                self._late = self._quick = 0
        else:
            self._quick = 0


def _octets(text: str) -> int:
    """What the claim counts; for ASCII, which Python knows at once, no bytes are made."""
    return len(text) if text.isascii() else len(text.encode())
