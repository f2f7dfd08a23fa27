"""What each sink did, counted by the process that delivers, and added to the history.

Counts are sums by sink, whatever becomes of the database: what cannot be written is added later.
What was counted since the last time is lost with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import psycopg

from riverbridge.model.history import BOUNDS, Tally, place_of
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.store import history
from riverbridge.store.clock import database_now
from riverbridge.store.database import Connection

INTERVAL = 5.0
"""Seconds between two additions to the history."""

REFUSED = 600.0
"""Seconds until it is tried again where this role has no right to."""


class Counts(NamedTuple):
    """Messages. took: those delivered, by how long their batch was out, as of the history."""

    delivered: int
    failed: int
    took: Sequence[int]


class Figures:
    """Those of one sink. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delivered = self._failed = 0
        self._took = [0] * (len(BOUNDS) + 1)

    def heard(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """A batch was answered so, having been out for so long."""
        delivered = sum(isinstance(outcome, Delivered) for outcome in outcomes)
        with self._lock:
            self._delivered += delivered
            self._failed += len(outcomes) - delivered
            self._took[place_of(seconds)] += delivered

    def take(self) -> Counts:
        """What was counted since this was called last."""
        with self._lock:
            taken = Counts(self._delivered, self._failed, self._took)
            self._delivered = self._failed = 0
            self._took = [0] * (len(BOUNDS) + 1)
        return taken

    def give_back(self, counts: Counts) -> None:
        """It could not be written."""
        with self._lock:
            self._delivered += counts.delivered
            self._failed += counts.failed
            self._took = [a + b for a, b in zip(self._took, counts.took, strict=True)]


class Recording:
    """Adds what the sinks of this process did to the history, in the keeper's transactions."""

    def __init__(
        self,
        figures: Mapping[str, Figures],
        schema: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """figures: by the sinks' names."""
        self._figures = figures
        self._schema = schema
        self._clock = clock
        self._rests_until = float("-inf")

    def write(self, connection: Connection) -> None:
        """Add it, if there is anything. Raises psycopg.Error; nothing is lost by that."""
        if self._clock() < self._rests_until:
            return
        taken = {name: figures.take() for name, figures in self._figures.items()}
        try:
            self._add(connection, taken)
        except psycopg.Error as error:
            for name, counts in taken.items():
                self._figures[name].give_back(counts)
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                self._rests_until = self._clock() + REFUSED
            raise

    def _add(self, connection: Connection, taken: Mapping[str, Counts]) -> None:
        busy = {name: counts for name, counts in taken.items() if counts.delivered or counts.failed}
        if not busy:
            return
        tally, now = Tally(), database_now(connection)
        for name, counts in busy.items():
            tally.answered(now, name, *counts)
        history.add(connection, tally, schema=self._schema)
