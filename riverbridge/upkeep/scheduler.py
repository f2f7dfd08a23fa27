"""Scheduled and retryable jobs become available when they are due (contract 7.3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import psycopg

from riverbridge.store import upkeep
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.duty import Duty

INTERVAL = 5.0
ANNOUNCE_GAP = 0.1

logger = logging.getLogger(__name__)


class Scheduler(Duty):
    """Every five seconds, the jobs that fall due before the next round become available.

    So a job is `available` up to five seconds before its time; claims leave it until then. Only
    queues with jobs that may be claimed already are announced: for the others, whoever wants a job
    soon after its time must poll (lanes and River's clients do, once a second).

    scheduled: jobs moved since the start. conflicts: those of them that were discarded because
    another job holds their unique key; each is logged.
    """

    name = "scheduler"

    def __init__(
        self, *, schema: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.scheduled = 0
        self.conflicts = 0
        self._schema = schema
        self._announced: dict[str, float] = {}

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Move one batch and announce its queues, in one transaction."""
        with bounded_transaction(conn, limit):
            result = upkeep.schedule(
                conn, look_ahead=timedelta(seconds=INTERVAL), limit=size, schema=self._schema
            )
            queues = self._not_just_announced(result.due)
            if queues:
                upkeep.announce(conn, queues, schema=self._schema)
        now = self._clock()
        self._announced.update((queue, now) for queue in queues)
        self.scheduled += result.jobs
        if result.conflicts:
            self.conflicts += len(result.conflicts)
            logger.warning(
                "%d jobs were discarded when they fell due, because another job holds their unique"
                " key (metadata unique_key_conflict); the first ids: %s",
                len(result.conflicts),
                ", ".join(map(str, result.conflicts[:10])),
            )
        return result.jobs

    def _not_just_announced(self, queues: Sequence[str]) -> list[str]:
        now = self._clock()
        self._announced = {q: at for q, at in self._announced.items() if now - at <= ANNOUNCE_GAP}
        return [queue for queue in queues if queue not in self._announced]
