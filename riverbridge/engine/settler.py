"""Writes what became of a batch while its rows are still locked, each row once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import psycopg

from riverbridge import telemetry
from riverbridge.engine.batch import LONG, Batch, Feed
from riverbridge.engine.pace import Pace
from riverbridge.engine.settling import BACK, SAVEPOINT, Aside, by_halves, write_locked
from riverbridge.engine.waking import Waker
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Withheld
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.store.database import Connection, lost
from riverbridge.store.jobs import JobTable

RELEASED_REST = 0.25
"""Seconds a feed is left alone after its taker handed jobs back as they were."""


class Settler:
    """A lane's; all it does is in the transaction of the lane's claim."""

    def __init__(
        self, table: JobTable, waker: Waker, paces: Mapping[Feed, Pace], aside: Aside
    ) -> None:
        self._table = table
        self._waker = waker
        self._paces = paces
        self._aside = aside

    def ahead(self, connection: Connection, feed: Feed, batch: Batch) -> bool:
        """Write all rows as delivered while they are out; returns whether that stands.

        So Postgres and the delivery work at the same time. Nothing is committed before every
        outcome is known, and any other outcome takes it back, as does a job that took long: it is
        only tried while the feed's last batch was delivered whole.
        """
        connection.execute(SAVEPOINT)
        if not self._paces[feed].trusted:
            return False
        ids = [job.id for job in batch.jobs]
        try:
            if write_locked(connection, self._table, feed, ids, {}) == len(ids):
                return True
        except psycopg.Error:
            if lost(connection):
                raise
        connection.execute(BACK)
        return False

    def settle(
        self, connection: Connection, feed: Feed, batch: Batch, *, ahead: bool
    ) -> list[Lease]:
        """Write what is answered and lease the rest, in the claiming transaction.

        ahead: all rows are written as delivered already.
        """
        began = time.monotonic()
        outcomes = batch.outcomes()
        answered = batch.answered_at() if feed.timely else [began] * len(outcomes)
        whole = not batch.long and all(isinstance(outcome, Delivered) for outcome in outcomes)
        self._paces[feed].trusted = whole
        if ahead and whole:
            labels = {"route": feed.name, "outcome": Delivered.__name__.lower()}
            telemetry.outcomes.add(len(outcomes), labels)
            return []
        if ahead:
            connection.execute(BACK)
        rows: list[int | Settlement] = []
        late: list[ClaimedJob] = []
        released = 0
        for job, outcome, at in zip(batch.jobs, outcomes, answered, strict=True):
            if outcome is None:
                late.append(job)
                continue
            if isinstance(outcome, Delivered) and began - at <= LONG:
                rows.append(job.id)
                continue
            row = feed.settlement(job, outcome)
            if row is None:
                released += not isinstance(outcome, Withheld)
            else:
                rows.append(msgspec.structs.replace(row, age=max(0.0, began - at)))
        failed = by_halves(
            connection,
            rows,
            lambda some: write_locked(connection, self._table, feed, some, batch.states),
            under_savepoint=True,
        )
        for unwritten, reason in failed:
            id_ = unwritten if isinstance(unwritten, int) else unwritten.id
            self._aside.add(id_, feed, reason)
        if released:
            self._waker.defer(feed, RELEASED_REST)
        for kind, count in Counter(type(o) for o in outcomes if o is not None).items():
            telemetry.outcomes.add(count, {"route": feed.name, "outcome": kind.__name__.lower()})
        telemetry.settle_seconds.record(time.monotonic() - began, {"route": feed.name})
        return self.lease(connection, feed, late)

    def lease(self, connection: Connection, feed: Feed, jobs: Sequence[ClaimedJob]) -> list[Lease]:
        """Turn locked rows into leases; those that cannot be written are set aside."""
        leases: dict[int, Lease] = {}

        def write(some: Sequence[ClaimedJob]) -> int:
            written = self._table.lease(connection, some)
            leases.update((lease.job.id, lease) for lease in written)
            return len(written)

        for job, reason in by_halves(connection, jobs, write):
            leases.pop(job.id, None)
            self._aside.add(job.id, feed, reason)
        return list(leases.values())
