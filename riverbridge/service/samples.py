"""Templates and conditions, tried on jobs that are there before the first is delivered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from psycopg.errors import LockNotAvailable, QueryCanceled

from riverbridge.bridge.route import Route
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Permanent, Retry
from riverbridge.service.plan import Plan
from riverbridge.store.database import Connection
from riverbridge.store.jobs import JobTable
from riverbridge.store.limits import bounded_transaction, limit_lock_waits

log = logging.getLogger(__name__)

SAMPLES = 100
"""Of so many of the newest jobs the newest of each route is tried."""

SAMPLE_BYTES = 1 << 20
"""Bytes of args beyond which no older job is read."""

LIMIT, LOCK_LIMIT = 5.0, 0.5
"""Seconds that reading them may take, and wait for a lock: the start is not held up."""


def check_samples(
    connection: Connection, schema: str | None, plan: Plan, routes: Mapping[str, Route]
) -> None:
    """Warn of each sink that could not be sent a route's newest job, and of a condition that cannot
    judge one: it names the template, the field that is missing and the job.

    A warning and no error: that job may be the odd one.
    """
    tried: set[str] = set()
    for job in _newest(connection, schema):
        choice = plan.choose(job)
        if isinstance(choice, Retry):
            if job.queue not in tried:
                tried.add(job.queue)
                log.warning("queue %s, tried on job %d: %s", job.queue, job.id, choice.error)
            continue
        if choice is None or choice in tried:
            continue
        tried.add(choice)
        for sink, sent in routes[choice].preview(job):
            if isinstance(sent, Permanent):
                log.warning(
                    "route %s, tried on job %d for sink %s: %s; jobs like it will be discarded",
                    choice,
                    job.id,
                    sink,
                    sent.error,
                )


def _newest(connection: Connection, schema: str | None) -> Sequence[ClaimedJob]:
    try:
        with bounded_transaction(connection, LIMIT):
            limit_lock_waits(connection, LOCK_LIMIT)
            table = JobTable(schema, "")
            return table.newest(connection, limit=SAMPLES, byte_budget=SAMPLE_BYTES)
    except (LockNotAvailable, QueryCanceled) as error:
        log.info("templates and conditions are not tried on jobs: %s", str(error).strip())
        return ()
