"""What is kept in tables of our own is deleted once it was kept long enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from riverbridge.store.limits import bounded_transaction
from riverbridge.store.upkeep import Pruned, prune
from riverbridge.upkeep.duty import Duty

INTERVAL = 60.0


class TableCleaner(Duty):
    """Every minute, rows of one table that are older than `keep` are deleted.

    The table's `prune.sql` says what its age is; the instants are the database's. keep: None for
    the inbox, whose rows say themselves when they expire.
    deleted: rows deleted since the start.
    """

    def __init__(
        self,
        table: Pruned,
        *,
        keep: timedelta | None = None,
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.name = f"{table}_cleaner"
        self.deleted = 0
        self._table = table
        self._keep = keep
        self._schema = schema

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Delete one batch."""
        with bounded_transaction(conn, limit):
            count = prune(conn, self._table, keep=self._keep, limit=size, schema=self._schema)
        self.deleted += count
        return count
