"""Receipts are deleted once they were kept long enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from riverbridge.store.limits import bounded_transaction
from riverbridge.store.receipts import prune
from riverbridge.upkeep.duty import Duty

INTERVAL = 60.0


class ReceiptCleaner(Duty):
    """Every minute, receipts older than `keep` are deleted; the instants are the database's.

    deleted: receipts deleted since the start.
    """

    name = "receipt_cleaner"

    def __init__(
        self,
        *,
        keep: timedelta = timedelta(days=7),
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.deleted = 0
        self._keep = keep
        self._schema = schema

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Delete one batch."""
        with bounded_transaction(conn, limit):
            count = prune(conn, keep=self._keep, limit=size, schema=self._schema)
        self.deleted += count
        return count
