"""Jobs that have been running for too long are taken from whoever lost them (contract 7.2)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import psycopg

from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.retry import LONGEST, RiverRetry
from riverbridge.store import upkeep
from riverbridge.store.database import lost
from riverbridge.store.limits import bounded_transaction
from riverbridge.store.upkeep import Rescue, StuckJob
from riverbridge.upkeep.duty import Duty

INTERVAL = 30.0

logger = logging.getLogger(__name__)


class Rescuer(Duty):
    """Every 30 seconds, jobs whose attempt began more than `after` ago are settled as failed.

    What somebody asked to be cancelled becomes `cancelled`. Any other job whose kind is among
    `kinds` becomes `retryable`, or `discarded` after its last attempt. A kind that is not is left
    alone, with a line in the log: River's leader would discard such a job, though another process
    may well be working it. A job that has finished meanwhile is never touched.

    kinds: what the workers of this process know; it may change. retry: seconds until the next
    attempt of a job. timeout: seconds a job may run, by which it is left alone even if `after` is
    less; None is no limit, so that such jobs are never rescued. after: longer than any job may
    honestly take.

    rescued: jobs settled since the start. unknown: kinds that were stuck but are not known here.
    """

    name = "rescuer"

    def __init__(
        self,
        *,
        kinds: Collection[str],
        retry: Callable[[ClaimedJob], float],
        timeout: Callable[[ClaimedJob], float | None],
        after: timedelta = timedelta(hours=1),
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.rescued = 0
        self.unknown: set[str] = set()
        self._kinds = kinds
        self._retry = retry
        self._timeout = timeout
        self._after = after
        self._schema = schema
        self._after_id = 0

    def begin(self) -> None:
        """A term begins: the first round starts from the first job."""
        super().begin()
        self._after_id = 0

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Look at one batch of stuck jobs, by id, and settle those that are to be rescued."""
        with bounded_transaction(conn, limit):
            found = upkeep.stuck(
                conn, after_id=self._after_id, after=self._after, limit=size, schema=self._schema
            )
            decisions = [self._decision(job) for job in found]
            settled = self._settle(conn, [each for each in decisions if each is not None])
        self._after_id = found[-1].job.id if len(found) >= size else 0
        self.rescued += settled
        if settled:
            logger.info("rescued %d jobs that were stuck", settled)
        return len(found)

    def _decision(self, stuck: StuckJob) -> Rescue | None:
        """What becomes of the job; None leaves it alone."""
        job = stuck.job
        if stuck.cancel_marked:
            return Rescue(stuck, JobState.CANCELLED)
        if job.kind not in self._kinds:
            if job.kind not in self.unknown:
                logger.warning(
                    "job %d is stuck, and so may be others of its kind %s, which no worker of this"
                    " process knows: it is left to a leader that does",
                    job.id,
                    job.kind,
                )
            self.unknown.add(job.kind)
            return None
        timeout = self._timeout(job)
        if timeout is None or stuck.running < timeout:
            return None
        if stuck.attempt < job.max_attempts:
            return Rescue(stuck, JobState.RETRYABLE, self._delay(job))
        return Rescue(stuck, JobState.DISCARDED)

    def _delay(self, job: ClaimedJob) -> float:
        """What the kind's policy says, or River's where it says nothing that can be used."""
        try:
            delay = float(self._retry(job))
        except Exception:
            logger.exception("the retry policy of kind %s failed", job.kind)
            delay = math.nan
        return min(delay, LONGEST) if delay >= 0 else RiverRetry().delay(job.failures)

    def _settle(self, conn: psycopg.Connection, rescues: Sequence[Rescue]) -> int:
        """How many were settled. A row that cannot be written is left alone, found by halves."""
        if not rescues:
            return 0
        try:
            with conn.transaction():
                return len(upkeep.rescue(conn, rescues, schema=self._schema))
        except psycopg.Error as error:
            if lost(conn) or isinstance(error, psycopg.errors.QueryCanceled):
                raise
            if len(rescues) == 1:
                id_ = rescues[0].stuck.job.id
                logger.error("job %d is stuck and cannot be rescued: %s", id_, error)
                return 0
        half = len(rescues) // 2
        return self._settle(conn, rescues[:half]) + self._settle(conn, rescues[half:])
