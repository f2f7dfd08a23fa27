"""Finished jobs are deleted once they were kept long enough (contract 7.1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from riverbridge.model.job import JobState
from riverbridge.store import upkeep
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.duty import Duty

INTERVAL = 30.0

# Postgres' timestamps end 4713 BC, so a longer retention could not be subtracted from now.
_LONGEST = timedelta(days=365 * 1000)


class Cleaner(Duty):
    """Every 30 seconds, jobs finalized longer ago than their state's retention are deleted.

    completed, cancelled, discarded: how long such jobs stay; None, or a negative time as River's
    -1, keeps them for ever. The instants compared are the database's.

    deleted: jobs deleted since the start.
    """

    name = "cleaner"

    def __init__(
        self,
        *,
        completed: timedelta | None = timedelta(hours=24),
        cancelled: timedelta | None = timedelta(hours=24),
        discarded: timedelta | None = timedelta(days=7),
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.deleted = 0
        self._schema = schema
        retention = {
            JobState.COMPLETED: completed,
            JobState.CANCELLED: cancelled,
            JobState.DISCARDED: discarded,
        }
        self._keep = {
            state: keep
            for state, keep in retention.items()
            if keep is not None and timedelta(0) <= keep <= _LONGEST
        }

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Delete one batch."""
        if not self._keep:
            return 0
        with bounded_transaction(conn, limit):
            count = upkeep.clean(conn, keep=self._keep, limit=size, schema=self._schema)
        self.deleted += count
        return count
