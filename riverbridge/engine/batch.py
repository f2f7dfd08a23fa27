"""A batch of claimed jobs on its way to a taker and back, and the feed it came from."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, Protocol

from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Outcome
from riverbridge.model.receipt import Receipt
from riverbridge.model.retry import RetryPolicy

Claiming = Literal["auto", "lock", "lease"]
"""How jobs are held while they are out. `lock`: under the row lock, becoming leases after `hold`.
`lease`: leased from the start. `auto`: `lock` until the taker proves slow."""


LONG = 0.05
"""Seconds from which on it matters for how long a job ran, and when it ended."""

Settled = Callable[[Sequence[tuple[ClaimedJob, Outcome, JobState]]], None]
"""Told, after the commit, which jobs were settled, and what their rows got: not always what the
outcome asked for (T24). Called by a lane's thread: be quick."""


class Batch:
    """Jobs that are out: one outcome is owed for each.

    The taker's threads call `answer`; the lane waits. After `abandon` nothing is settled any more,
    and a taker should drop what it has not sent.
    """

    def __init__(self, jobs: Sequence[ClaimedJob], deadline: float) -> None:
        """deadline: the time.monotonic by which the taker must have answered."""
        self.jobs = jobs
        self.deadline = deadline
        self.on_settled: Settled | None = None
        """A taker that wants to know sets this before it answers."""
        self.on_abandoned: Callable[[], None] | None = None
        """The same: others may have these jobs now, so what still runs is to be ended."""
        self.handed_over: set[int] = set()
        """Ids of jobs whose functions may have settled their leases themselves."""
        self.long = False
        """A taker sets this before it answers for a job that took longer than `LONG`."""
        self.states: dict[int, JobState] = {}
        """What rows got under their locks, by id, but for those that were delivered."""
        self.receipts: list[Receipt] = []
        """What a taker wants kept of the jobs it answers, added before it does; they are written
        with the rows that are settled next."""
        self._outcomes: list[Outcome | None] = [None] * len(jobs)
        self._answered_at = [0.0] * len(jobs)
        self._open = len(jobs)
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._over = threading.Event()
        self._leased: list[Callable[[], None]] | None = []
        self._abandoned = False

    def answer(self, outcomes: Sequence[Outcome], start: int = 0) -> None:
        """Give outcomes to the jobs from `start` on. A job's first outcome stands."""
        now = time.monotonic()
        with self._lock:
            for index, outcome in enumerate(outcomes, start):
                if self._outcomes[index] is None:
                    self._outcomes[index] = outcome
                    self._answered_at[index] = now
                    self._open -= 1
            if self._open == 0:
                self._answered.set()
                self._over.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True once every job has its outcome.

        False at once when the taker asked for leases: the lane makes them of what is not answered.
        """
        self._over.wait(max(0.0, timeout))
        return self._answered.is_set()

    def lease(self, then: Callable[[], None]) -> None:
        """End the wait under the row locks: a job needs its own row. `then` is called once what is
        not answered is leased, or at once if it is; also when the batch is abandoned.
        """
        with self._lock:
            if self._leased is not None:
                self._leased.append(then)
                self._over.set()
                return
        then()

    def leased(self) -> None:
        """The lane holds no row lock of this batch any more."""
        with self._lock:
            waiting, self._leased = self._leased, None
        for then in waiting or ():
            then()

    def take_receipts(self) -> list[Receipt]:
        """The receipts added since the last call."""
        taken, self.receipts = self.receipts, []
        return taken

    @property
    def answered(self) -> bool:
        """Whether every job has its outcome."""
        return self._answered.is_set()

    @property
    def unanswered(self) -> int:
        """How many jobs have no outcome yet."""
        return self._open

    @property
    def overdue(self) -> bool:
        """Whether the taker has missed its deadline by more than a second."""
        return not self.answered and time.monotonic() > self.deadline + 1.0

    def outcomes(self) -> list[Outcome | None]:
        """The outcomes so far, in the order of `jobs`."""
        with self._lock:
            return list(self._outcomes)

    def answered_at(self) -> list[float]:
        """By time.monotonic, in the order of `jobs`; 0 for those that have no outcome yet."""
        with self._lock:
            return list(self._answered_at)

    def open(self) -> list[int]:
        """The places of the jobs that have no outcome yet."""
        with self._lock:
            return [place for place, outcome in enumerate(self._outcomes) if outcome is None]

    def abandon(self) -> None:
        """Nobody waits any more: the lane lost its hold on these rows."""
        self._abandoned = True
        self.leased()
        if self.on_abandoned is not None:
            self.on_abandoned()

    @property
    def abandoned(self) -> bool:
        """Whether the lane has given this batch up."""
        return self._abandoned


class Taker(Protocol):
    """Turns a batch into one outcome per job: a route's sinks, or Python job functions."""

    def room(self) -> int:
        """How many jobs it would take now; 0 while it is closed or busy."""
        ...

    def take(self, batch: Batch) -> None:
        """Start on `batch` and return at once; answer it from other threads by its deadline."""
        ...


@dataclass(frozen=True, eq=False)
class Feed:
    """A stream of jobs that a lane claims from: a queue, the kinds taken, and how they end.

    kinds, taken: LIKE patterns, and whether a job's kind must match one of them or none.
    max_attempts: an upper limit to the rows' own.
    delete_delivered: delivered rows are deleted instead of completed.
    oldest: jobs scheduled before this are cancelled, not taken.
    timely: a row says when its own job was answered, and not when the batch was settled.
    next_retry: seconds until the next attempt of a job that was lost with its process, where
    `retry` does not know what its kind wants.
    """

    name: str
    queue: str
    taker: Taker
    retry: RetryPolicy
    kinds: tuple[str, ...] = ("%",)
    taken: bool = True
    max_attempts: int | None = None
    delete_delivered: bool = False
    claiming: Claiming = "auto"
    oldest: datetime | None = None
    timely: bool = False
    next_retry: Callable[[ClaimedJob], float] | None = None

    def takes(self, kind: str) -> bool:
        """Whether a job of this kind is claimed, as the claim's own LIKE judges it."""
        return any(_like(pattern).fullmatch(kind) for pattern in self.kinds) == self.taken


@lru_cache(maxsize=1024)
def _like(pattern: str) -> re.Pattern[str]:
    """A LIKE pattern as a regular expression: backslash escapes, `%` any run, `_` any character."""
    parts = []
    for piece in re.findall(r"\\.|%+|.", pattern, re.DOTALL):
        if piece[0] == "%":
            parts.append(".*")
        elif piece == "_":
            parts.append(".")
        else:
            parts.append(re.escape(piece[-1]))
    return re.compile("".join(parts), re.DOTALL)
