"""Periodic jobs inserted without a leader, by the clock of a test."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from riverbridge.errors import ClientError
from riverbridge.upkeep.periodic import PeriodicJobs
from riverbridge.worker.enqueuing import enqueuer

LIMIT = 10.0
"""Seconds for a statement."""


class PeriodicTester:
    """Does what a leader does about `jobs`, whenever it is told to. A new one is a new leader.

    connection: psycopg's, in autocommit, with no transaction open; durable jobs have their own.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        jobs: PeriodicJobs,
        *,
        schema: str | None = None,
    ) -> None:
        self._connection = connection
        self._enqueuer = enqueuer(jobs, schema=schema)

    def run(self) -> int:
        """Insert what is due and commit it; how many jobs that were.

        The first call is the leader's start: it inserts jobs with `run_on_start`, and an interval
        counts from it. Raises ClientError in a transaction. What goes wrong with one job is logged.
        """
        connection = self._connection
        idle = connection.info.transaction_status is TransactionStatus.IDLE
        if not (connection.autocommit and idle):
            raise ClientError(
                "connection: a leader commits by itself: give one in autocommit, with no "
                "transaction open"
            )
        before = self._enqueuer.inserted
        self._enqueuer.work(connection, 0, LIMIT)
        return self._enqueuer.inserted - before
