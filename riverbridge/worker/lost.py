"""What kinds say of their jobs that were lost, with a process or stuck in one (contract 7.2)."""

from __future__ import annotations

import logging
from typing import Any

from riverbridge.model.job import ClaimedJob
from riverbridge.model.retry import RetryPolicy
from riverbridge.worker.job import RunningJob
from riverbridge.worker.loop import EventLoop
from riverbridge.worker.registry import Workers, timeout_seconds
from riverbridge.worker.verdict import own_delay

log = logging.getLogger(__name__)


class LostJobs:
    """Asks each kind what it would be asked if the attempt had failed here. Any thread may call."""

    def __init__(
        self,
        workers: Workers,
        *,
        timeout: float | None,
        retry: RetryPolicy,
        loop: EventLoop,
        client: object,
    ) -> None:
        """timeout, retry: for kinds without their own, as in `PoolOptions`."""
        self._workers = workers
        self._timeout = timeout_seconds(timeout)
        self._retry = retry
        self._loop = loop
        self._client = client

    def timeout(self, row: ClaimedJob) -> float | None:
        """Seconds that the job may run; None is no limit.

        0 where the kind cannot be asked, as its args cannot be read: such a job never ran.
        """
        job, wanted = self._job(row), self._workers.find(row.kind).timeout
        if job is None:
            return 0.0
        try:
            own = timeout_seconds(wanted(job)) if callable(wanted) else wanted
        except Exception:
            log.exception("%r: its timeout failed; the client's counts", job)
            return self._timeout
        return self._timeout if own == 0 else own

    def delay(self, row: ClaimedJob) -> float:
        """Seconds until the job's next attempt."""
        job, wanted = self._job(row), self._workers.find(row.kind).next_retry
        own = None
        if job is not None:
            own = own_delay(job, lambda: wanted(job) if callable(wanted) else wanted)
        return self._retry.delay(row.failures) if own is None else own

    def _job(self, row: ClaimedJob) -> RunningJob[Any] | None:
        """The job as its functions see it; None if its args cannot be read."""
        job: RunningJob[Any] = RunningJob(row, None, self._loop, self._client)
        try:
            job.args = self._workers.find(row.kind).decode(row)
        except Exception as error:
            log.warning("%r was lost, and its args cannot be read: %s", job, error)
            return None
        return job
