"""What a feed's claims bring that its taker does not take: left as it is, and remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from riverbridge.model.job import ClaimedJob

MOST = 10_000
"""Jobs remembered. Beyond that they are read again, in looks that take turns with long rests."""

AGAIN = 300.0
"""Seconds after which a job that nobody takes is judged again: somebody may have changed it."""

SOON = 0.5
"""Seconds after which a job whose taker had no room is looked at again."""


class Sorted(NamedTuple):
    """Claimed jobs: to be taken; that nobody takes; and whose taker has no room now."""

    taken: Sequence[ClaimedJob]
    unmatched: Sequence[ClaimedJob]
    waiting: Sequence[ClaimedJob]


class Sieve:
    """Keeps jobs from being claimed again and again. Any thread may call."""

    def __init__(
        self,
        sort: Callable[[Sequence[ClaimedJob]], Sorted],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """sort: judges what a claim brought; called under the row locks, so it must be quick."""
        self._sort = sort
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[int, tuple[float, bool]] = {}
        self._crowded = False

    def sift(self, jobs: Sequence[ClaimedJob]) -> Sequence[ClaimedJob]:
        """Those of `jobs` that are to be taken."""
        found = self._sort(jobs)
        if found.unmatched or found.waiting:
            now = self._clock()
            with self._lock:
                self._forget_old(now)
                self._leave(found.unmatched, now + AGAIN, True)
                self._leave(found.waiting, now + SOON, False)
        return found.taken

    def ids(self) -> list[int]:
        """The jobs not to claim now."""
        if not self._left:
            return []
        now = self._clock()
        with self._lock:
            return [id_ for id_, (until, _) in self._left.items() if until > now]

    def crowded(self) -> bool:
        """Whether there are more such jobs than are remembered."""
        return self._crowded

    def unmatched(self) -> list[int]:
        """The remembered jobs that nobody takes."""
        with self._lock:
            return [id_ for id_, (_, unmatched) in self._left.items() if unmatched]

    def forget(self, ids: Iterable[int]) -> None:
        """These are gone."""
        with self._lock:
            for id_ in ids:
                self._left.pop(id_, None)
            self._judge_room()

    def _leave(self, jobs: Sequence[ClaimedJob], until: float, unmatched: bool) -> None:
        # The first that came stay: they are at the head of the queue, which is read most often.
        for job in jobs:
            if len(self._left) >= MOST and job.id not in self._left:
                self._crowded = True
                return
            self._left[job.id] = (until, unmatched)

    def _forget_old(self, now: float) -> None:
        # One that nobody takes is still counted until it is judged anew.
        gone = [i for i, (until, unmatched) in self._left.items() if until < now and not unmatched]
        for id_ in gone:
            del self._left[id_]
        self._judge_room()

    def _judge_room(self) -> None:
        if len(self._left) <= MOST // 2:
            self._crowded = False
