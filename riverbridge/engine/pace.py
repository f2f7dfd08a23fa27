"""How much a lane claims from a feed at once, from where, and which kinds it leases at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from riverbridge.engine.batch import Claiming
from riverbridge.model.job import ClaimedJob
from riverbridge.store.jobs import EVERYTHING

FIRST_LIMIT = 100
"""Rows of the first claim, before anything is known of their size."""

FULL_LOOK = 1.0
"""Seconds between claims that ignore the floors."""

CROWDED_REST = 10
"""Where more jobs are left in the way than are remembered, a full look is followed by so many times
its own length without one."""

SLOW_AFTER = 2
"""So many batches in a row in which a kind was not done within `hold`, and it is leased from the
start."""

QUICK_AFTER = 5
"""So many leased batches in a row in which all of a kind was done well inside `hold`, and it is not
any more."""

KINDS = 1000
"""Kinds remembered; beyond that all are learned anew."""


BACK = 1.0
"""Seconds below the floors from which on a claim reads: for what was committed late."""

TOP = (EVERYTHING, 0)


class Floors(NamedTuple):
    """Where a claim begins, by priority: the instant, as text, and the id; so many seconds back.

    full_look: all floors are down.
    """

    texts: Sequence[str]
    after: Sequence[int]
    back: float
    full_look: bool


class Slowness:
    """Which kinds of one feed are usually not done within `hold`.

    As in `Pace`, a lost update between two lanes costs one batch of the other way.
    """

    def __init__(self, claiming: Claiming, hold: float) -> None:
        self._claiming = claiming
        self._hold = hold
        self._late: dict[str, int] = {}
        self._quick: dict[str, int] = {}
        """Of the slow kinds: quick batches in a row."""

    @property
    def expected(self) -> bool:
        """Whether any kind is leased from the start."""
        return self._claiming == "lease" or bool(self._quick)

    def split(
        self, jobs: Sequence[ClaimedJob]
    ) -> tuple[Sequence[ClaimedJob], Sequence[ClaimedJob]]:
        """The jobs to lease from the start, and those to hold under their locks."""
        if self._claiming == "lease":
            return jobs, ()
        if not self._quick:
            return (), jobs
        slow = self._quick.keys()
        return [j for j in jobs if j.kind in slow], [j for j in jobs if j.kind not in slow]

    def held(self, kinds: Iterable[str], late: Iterable[str]) -> None:
        """A batch of `kinds` was held; jobs of the kinds `late` were not done when time was up."""
        if self._claiming != "auto":
            return
        late = set(late)
        for kind in late:
            count = self._late.pop(kind, 0) + 1
            if count >= SLOW_AFTER:
                self._quick[kind] = 0
            else:
                self._late[kind] = count
        if self._late:
            for kind in set(kinds) - late:
                self._late.pop(kind, None)
        for known in (self._late, self._quick):
            if len(known) > KINDS:
                known.clear()

    def leased(self, seconds: Mapping[str, float]) -> None:
        """A batch leased from the start was answered; by kind, what its last job took."""
        if self._claiming != "auto":
            return
        for kind, taken in seconds.items():
            quick = self._quick.get(kind)
            if quick is None:
                continue
            if taken >= self._hold / 2:
                self._quick[kind] = 0
            elif quick + 1 >= QUICK_AFTER:
                del self._quick[kind]
            else:
                self._quick[kind] = quick + 1


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
        crowded: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """crowded: for a feed whose claims leave jobs where they are: whether they are more than
        anybody remembers."""
        self._exact = crowded is not None
        self._crowded = crowded or (lambda: False)
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._clock = clock
        self._limit = min(FIRST_LIMIT, batch_size)
        self._floors = [TOP] * 4
        self._looked = float("-inf")
        self._rest = FULL_LOOK
        self._looking = False
        self.slowness = Slowness(claiming, hold)
        self.trusted = False
        """Whether the last batch was delivered whole, so that the next may be settled ahead."""

    @property
    def limit(self) -> int:
        """Rows to ask for."""
        return self._limit

    def floors(self) -> Floors:
        """Where the next claim begins."""
        now = self._clock()
        # Where jobs are left in the way, a look that begins anew before the last one has got past
        # them would never get past them.
        if now - self._looked >= self._rest and not (self._looking and self._crowded()):
            self._looked = now
            self._looking = True
            return Floors([EVERYTHING] * 4, [0] * 4, BACK, True)
        floors = list(self._floors)
        texts, ids = [text for text, _ in floors], [id_ for _, id_ in floors]
        return Floors(texts, ids, 0.0 if self._exact else BACK, False)

    def claimed(
        self,
        jobs: Sequence[ClaimedJob],
        *,
        limit: int,
        full_look: bool,
        byte_budget: int | None = None,
    ) -> bool:
        """Learn from a claim; returns whether there may well be more to claim at once.

        byte_budget: the claim's, where it is not the usual one.
        A full look that fills its batch may have more below the old floors, so they come down to
        where it ended; otherwise floors only rise.
        """
        if not jobs:
            self._looked_through()
            return False
        most = self._batch_bytes if byte_budget is None else byte_budget
        size = sum(octets(job.args) for job in jobs)
        more = len(jobs) >= limit or size >= most
        if not more:
            self._looked_through()
        last = {job.priority: job for job in jobs}
        for priority, job in last.items():
            reached = (job.scheduled_at.isoformat(), job.id if self._exact else 0)
            known = self._floors[priority - 1]
            if (full_look and more) or known == TOP or reached > known:
                self._floors[priority - 1] = reached
        fitting = most * len(jobs) // max(1, size)
        # Growing by four a step meets the size of large args before the memory does.
        self._limit = max(
            1, min(self._batch_size, fitting, self._limit * 4 if more else self._limit)
        )
        return more

    def _looked_through(self) -> None:
        """All there was has been read, from the top."""
        if self._looking:
            took = self._clock() - self._looked
            self._rest = max(FULL_LOOK, CROWDED_REST * took) if self._crowded() else FULL_LOOK
            self._looking = False


def octets(text: str) -> int:
    """What the claim counts; for ASCII, which Python knows at once, no bytes are made."""
    return len(text) if text.isascii() else len(text.encode())


def within(jobs: Sequence[ClaimedJob], byte_budget: int) -> Sequence[ClaimedJob]:
    """The first of these jobs, as far as their args do not exceed the budget; one at least."""
    size = 0
    for count, job in enumerate(jobs):
        size += octets(job.args)
        if size > byte_budget and count:
            return jobs[:count]
    return jobs
