"""What a leader does again and again: when it is due, and how much at once."""

from __future__ import annotations

import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import psycopg

BATCH = 10_000
REDUCED_BATCH = 1_000
TIMEOUTS_TO_REDUCE = 3
TIMEOUT_WINDOW = 600.0


class BatchSize:
    """10,000; for good 1,000 after three time-outs in a row within ten minutes (contract 7)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._timeouts: list[float] = []
        self.limit = BATCH

    def timed_out(self) -> None:
        """Count a time-out."""
        now = self._clock()
        self._timeouts = [at for at in self._timeouts if now - at < TIMEOUT_WINDOW] + [now]
        if len(self._timeouts) >= TIMEOUTS_TO_REDUCE:
            self.limit = REDUCED_BATCH

    def answered(self) -> None:
        """A batch came through: the row of time-outs is broken."""
        self._timeouts.clear()


class Duty(ABC):
    """One of the leader's loops, a batch at a time, so that no loop holds up another.

    A full batch is followed by the next after 50 ms to 1 s; one that is not full ends the round,
    and the next round starts `interval` seconds after this one started, or sooner if the duty knows
    that something is due before (`_wake_at`).
    """

    name: str

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval = interval
        self.batch = BatchSize(clock)
        self.due = 0.0
        self._clock = clock
        self._wake_at = math.inf
        self._round: float | None = None
        self._failures = 0

    def begin(self) -> None:
        """A term begins: the first round comes within a second, with the duties spread over it."""
        self.due = self._clock() + random.uniform(0, 1)  # noqa: S311
        self._round = None
        self._failures = 0

    def end(self) -> None:  # noqa: B027 - most duties do nothing but steps
        """The term is over: end what goes on beside `step`, and return when it has ended."""

    def step(self, conn: psycopg.Connection, limit: float) -> None:
        """Do one batch within `limit` seconds, and set when the next one is due.

        Raises what the batch raised; the next try then comes after 1, 2, 4 … seconds, at most
        the interval.
        """
        now = self._clock()
        self._round = now if self._round is None else self._round
        size = self.batch.limit
        try:
            done = self.work(conn, size, limit)
        except Exception as error:
            if isinstance(error, psycopg.errors.QueryCanceled):
                self.batch.timed_out()
            self._failures += 1
            delay = min(self.interval, 2.0 ** min(self._failures - 1, 6))
            self.due = self._clock() + delay * random.uniform(0.9, 1.1)  # noqa: S311
            raise
        self.batch.answered()
        self._failures = 0
        if done >= size:
            self.due = self._clock() + random.uniform(0.05, 1)  # noqa: S311
        else:
            self.due = min(self._round + self.interval, self._wake_at)
            self._round = None

    @abstractmethod
    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Handle up to `size` rows in one transaction of at most `limit` seconds; how many it were.

        It is called by whoever leads, and perhaps by two at once: it must do no harm when repeated.
        """
