"""What became of jobs is written down for the console's charts, and deleted when it is old."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from riverbridge.store import history
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.duty import Duty

INTERVAL = 4.0

PRUNE_INTERVAL = 600.0

STATEMENT_LIMIT = 5.0
"""Seconds; one takes a fiftieth of that where River's indexes are whole."""


class Historian(Duty):
    """Every four seconds, the next five seconds of history, if they are old enough to be whole.

    It is the leader's, so that one process reads the tables for it; should two believe that they
    lead, one of them finds the mark locked and does nothing.
    """

    name = "historian"

    def __init__(
        self, *, schema: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(INTERVAL, clock)
        self._schema = schema
        self._prune_due = 0.0

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Write one stretch; a full batch if the next one can be written at once."""
        with bounded_transaction(conn, min(limit, STATEMENT_LIMIT)):
            more = history.advance(conn, schema=self._schema)
        if self._clock() >= self._prune_due:
            self._prune_due = self._clock() + PRUNE_INTERVAL
            with bounded_transaction(conn, min(limit, STATEMENT_LIMIT)):
                history.prune(conn, schema=self._schema)
        return size if more else 0
