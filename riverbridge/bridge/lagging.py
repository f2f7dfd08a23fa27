"""Which sinks of a route nobody waits for, and what they answer when nobody waits any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from riverbridge.model.outcome import Misconfigured, Outcome, Unreachable

log = logging.getLogger(__name__)

LONGEST_TRIAL = 60.0
"""Seconds a sink that lags again and again must answer in time before it is waited for."""

MOST = 100_000
"""Late answers kept for each sink of a route; beyond that the oldest are forgotten, and their jobs
are sent again."""


class Lag:
    """Whether one sink of a route lags: it exceeded the patience lately, and is not waited for.

    Its first answer in time ends that. If it lags again within a minute, it must answer in time
    for 1 s, then 2, 4 and so on: else a sink that is slow now and then would cost the patience each
    time.
    """

    def __init__(self, sink: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._in_time_since: float | None = None
        self._ended = float("-inf")
        self._trial = 0.0
        self._newest = float("-inf")
        """When the newest batch was sent that was answered in time."""

    @property
    def lagging(self) -> bool:
        return self._since is not None

    def seconds(self) -> float:
        """For how long it lags; 0 if it does not."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def late(self, sent: float) -> None:
        """A batch sent at `sent` was not answered in time."""
        with self._lock:
            if sent < self._newest:
                return  # a newer one was: this says nothing of now
            now = self._clock()
            self._in_time_since = None
            if self._since is not None:
                return
            self._since = now
            again = now - self._ended < LONGEST_TRIAL
            self._trial = min(LONGEST_TRIAL, max(1.0, 2 * self._trial)) if again else 0.0
        log.warning("sink %s lags behind the others; jobs do not wait for it", self._sink)

    def in_time(self, sent: float) -> None:
        """A batch sent at `sent` was answered within the patience."""
        if self._since is None:
            self._newest = max(self._newest, sent)  # a lost update says the same a batch later
            return
        with self._lock:
            self._newest = max(self._newest, sent)
            now = self._clock()
            if self._in_time_since is None:
                self._in_time_since = now
            if self._since is None or now - self._in_time_since < self._trial:
                return
            self._since = None
            self._ended = now
        log.info("sink %s keeps up again", self._sink)


Shown = tuple[int, ...]
"""Numbers of a job's row that differ from one delivery to another: attempt, parkings, replay."""


class _Late(msgspec.Struct):
    shown: Shown
    until: float
    """When an answer that has not come is not awaited any more (of the clock)."""
    outcome: Outcome | None = None


class LateAnswers:
    """Answers of one sink for jobs that were settled without them, until the jobs come again.

    In this process only. A job is known by what its row shows: an answer to an earlier delivery is
    not taken for one to a later. Any thread may call.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, _Late] = {}

    @property
    def empty(self) -> bool:
        """Whether it knows of no job."""
        return not self._known

    def expect(self, id_: int, shown: Shown, until: float) -> None:
        """The answer for job `id_` is out, and its row shows this when it comes again."""
        with self._lock:
            if len(self._known) >= MOST and id_ not in self._known:
                del self._known[next(iter(self._known))]
            self._known[id_] = _Late(shown, until)

    def follow(self, id_: int, shown: Shown) -> None:
        """Job `id_` was settled without its answer once more; its row shows this now."""
        with self._lock:
            if (late := self._known.get(id_)) is not None:
                late.shown = shown

    def heard(self, id_: int, outcome: Outcome) -> None:
        """What became of it. Nobody waits for it; and one that was not reached is sent again."""
        with self._lock:
            if isinstance(outcome, Unreachable | Misconfigured):
                self._known.pop(id_, None)
            elif (late := self._known.get(id_)) is not None:
                late.outcome = outcome

    def out(self) -> list[int]:
        """Jobs whose answer is still to come."""
        now = self._clock()
        with self._lock:
            return [i for i, late in self._known.items() if not late.outcome and now < late.until]

    def recall(self, id_: int, shown: Shown) -> tuple[bool, Outcome | None]:
        """Whether this job was sent already, and what became of it: None while that is out."""
        with self._lock:
            late = self._known.get(id_)
            if late is None:
                return False, None
            ours = late.shown == shown
            if ours and late.outcome is None and self._clock() < late.until:
                return True, None
            del self._known[id_]
            return ours and late.outcome is not None, late.outcome if ours else None
