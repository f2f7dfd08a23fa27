"""A batch of claimed jobs on its way to a taker and back, and the feed it came from."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from riverbridge.engine.sieve import Sieve
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Outcome
from riverbridge.model.receipt import Receipt
from riverbridge.model.retry import RetryPolicy, RiverRetry
from riverbridge.model.settlement import Settlement, settlement

if TYPE_CHECKING:
    from riverbridge.engine.slots import Slot, Slots

Claiming = Literal["auto", "lock", "lease"]
"""How jobs are held while they are out. `lock`: under the row lock, becoming leases after `hold`.
`lease`: leased from the start. `auto`: `lock` until the taker proves slow."""


LONG = 0.05
"""Seconds from which on it matters for how long a job ran, and when it ended."""

LOST = "riverbridge:lost"
"""The key under which a job's metadata says that its last attempt was lost with the process: an
object with the `attempt` and the `error`. It means nothing at any other attempt."""

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
        self.on_late: Callable[[], None] | None = None
        """The same: the lane will lease what has no answer, so what was not begun is to be given
        one."""
        self.handed_over: set[int] = set()
        """Ids of jobs whose functions may have settled their leases themselves."""
        self.slot: Slot | None = None
        """Under which the batch goes out, where its sink can be asked later what arrived. What is
        not known then is left `running`."""
        self.long = False
        """A taker sets this before it answers for a job that took longer than `LONG`."""
        self.states: dict[int, JobState] = {}
        """What rows got under their locks, by id, but for those that were delivered."""
        self._receipts: list[Receipt] = []
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

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        """What a taker wants kept of jobs, given before it answers for them; it is written with the
        rows that are settled next."""
        with self._lock:
            self._receipts += receipts

    def take_receipts(self) -> list[Receipt]:
        """The receipts added since the last call."""
        with self._lock:
            taken, self._receipts = self._receipts, []
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


class Terms(NamedTuple):
    """How a job is tried again, the most attempts it has (None: its own), and whether its taker has
    to see it before it is discarded."""

    retry: RetryPolicy
    max_attempts: int | None = None
    dead_letters: bool = False


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
    dead_letters: the taker has to see a job before it is discarded, also one that was lost with its
    process: that one is claimed again, and its metadata says so under `LOST`.
    sieve: where the taker does not take all that matches; what it leaves is not written.
    terms: retry policy and max_attempts of one job, where they are not the same for all.
    slots: batches go out under a slot of these, leased from the start.
    bytes_left: bytes of args that the taker would take now, where it minds; claims keep to them.
    next_retry: seconds until the next attempt of a job that was lost with its process, where
    `retry` does not know what its kind wants.
    key_of: the jobs of a key are delivered in the order of their ids; raises TemplateError. share:
    and of those, the keys of this share (`riverbridge.engine.deal.SHARES`).
    hold_back_for: seconds a failing job keeps others of its key waiting at most.
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
    dead_letters: bool = False
    next_retry: Callable[[ClaimedJob], float] | None = None
    sieve: Sieve | None = None
    terms: Callable[[ClaimedJob], Terms] | None = None
    key_of: Callable[[ClaimedJob], str] | None = None
    share: int = 0
    hold_back_for: float | None = None
    slots: Slots | None = None
    bytes_left: Callable[[], int] | None = None

    def room(self) -> int:
        """How many jobs may be claimed now."""
        if self.slots is not None and not self.slots.free:
            return 0
        return self.taker.room()

    def settlement(self, job: ClaimedJob, outcome: Outcome) -> Settlement | None:
        """The row `outcome` leaves, or None where the job is released as it was."""
        terms = self.terms_of(job)
        return settlement(job, outcome, retry=terms.retry, max_attempts=terms.max_attempts)

    def terms_of(self, job: ClaimedJob) -> Terms:
        """Those of this job."""
        if self.terms is not None:
            return self.terms(job)
        return Terms(self.retry, self.max_attempts, self.dead_letters)

    def takes(self, kind: str) -> bool:
        """Whether a job of this kind is claimed, as the claim's own LIKE judges it."""
        return any(_like(pattern).fullmatch(kind) for pattern in self.kinds) == self.taken


def feed_of(feeds: Iterable[Feed], job: ClaimedJob) -> Feed | None:
    """The one of `feeds` that claims such a job."""
    return next((feed for feed in feeds if feed.queue == job.queue and feed.takes(job.kind)), None)


def settlement_by(feed: Feed | None, job: ClaimedJob, outcome: Outcome) -> Settlement | None:
    """As `Feed.settlement`; as River does by itself, where no feed claims such a job any more."""
    return feed.settlement(job, outcome) if feed else settlement(job, outcome, retry=RiverRetry())


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
