"""Queues that no worker has reported for a day are forgotten (contract 7.5)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from riverbridge.store import upkeep
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.duty import Duty

INTERVAL = 3600.0
KEEP = timedelta(hours=24)

logger = logging.getLogger(__name__)


class QueueCleaner(Duty):
    """Every hour, rows of `river_queue` that were not updated for 24 hours are deleted.

    Paused queues too, as River has it: one that nobody works for a day is no longer paused.

    deleted: rows deleted since the start.
    """

    name = "queue_cleaner"

    def __init__(
        self, *, schema: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.deleted = 0
        self._schema = schema

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Delete one batch."""
        with bounded_transaction(conn, limit):
            names = upkeep.clean_queues(conn, keep=KEEP, limit=size, schema=self._schema)
        self.deleted += len(names)
        if names:
            logger.info("forgot queues that nobody reports: %s", ", ".join(names))
        return len(names)
