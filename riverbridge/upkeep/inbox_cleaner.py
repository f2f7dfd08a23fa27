"""The inbox forgets events once they were remembered long enough."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from riverbridge.store import ingest
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.duty import Duty

INTERVAL = 60.0


class InboxCleaner(Duty):
    """Every minute, events that have expired are deleted from `riverbridge_inbox`.

    When one expires was said when it was entered, by what its source was then told.

    deleted: entries deleted since the start.
    """

    name = "inbox_cleaner"

    def __init__(
        self, *, schema: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.deleted = 0
        self._schema = schema

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Delete one batch."""
        with bounded_transaction(conn, limit):
            count = ingest.forget(conn, limit=size, schema=self._schema)
        self.deleted += count
        return count
