"""Templates and conditions, tried on jobs that are there before the first is delivered."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from riverbridge.bridge.route import Route
from riverbridge.model.outcome import Permanent, Retry
from riverbridge.service.plan import Plan
from riverbridge.store.database import Connection
from riverbridge.store.jobs import JobTable

log = logging.getLogger(__name__)

SAMPLES = 200
"""Of so many of the newest jobs the newest of each route is tried."""


def check_samples(
    connection: Connection, schema: str | None, plan: Plan, routes: Mapping[str, Route]
) -> None:
    """Warn of each sink that could not be sent a route's newest job, and of a condition that cannot
    judge one: it names the template, the field that is missing and the job.

    A warning and no error: that job may be the odd one.
    """
    tried: set[str] = set()
    for job in JobTable(schema, "").newest(connection, SAMPLES):
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
