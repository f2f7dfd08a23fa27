"""Writing outcomes into rows, so that one bad row never holds the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeGuard, TypeVar

import psycopg

from riverbridge import telemetry
from riverbridge.engine.batch import Feed
from riverbridge.model.job import JobState
from riverbridge.model.receipt import Receipt
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.store.database import Connection, lost
from riverbridge.store.jobs import JobTable

log = logging.getLogger(__name__)

T = TypeVar("T")

SAVEPOINT = b"SAVEPOINT settle"
BACK = b"ROLLBACK TO SAVEPOINT settle"

FIRST_REST = 60.0
"""Seconds a row that cannot be written is left alone the first time; doubles each time."""

LONGEST_REST = 3600.0

MOST = 10_000
"""Rows remembered; beyond that the first ones are tried again early."""


class Aside:
    """Rows this process leaves alone because they could not be settled. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def add(self, id_: int, feed: Feed, reason: str) -> None:
        """Leave row `id_` alone, twice as long each time, and report it."""
        with self._lock:
            rest = min(LONGEST_REST, self._rows.get(id_, (0.0, FIRST_REST / 2))[1] * 2)
            if len(self._rows) >= MOST and id_ not in self._rows:
                del self._rows[next(iter(self._rows))]
            self._rows[id_] = (self._clock() + rest, rest)
        telemetry.unsettleable.add(1, {"route": feed.name})
        log.error(
            "job %d of queue %s cannot be settled and is left alone for %.0f s: %s; "
            "it may have been delivered, and will be delivered again then",
            id_,
            feed.queue,
            rest,
            reason,
        )

    def ids(self) -> list[int]:
        """Rows to leave alone now. What was left alone long ago is forgotten."""
        if not self._rows:
            return []
        now = self._clock()
        with self._lock:
            for id_, (until, _) in list(self._rows.items()):
                if now > until + LONGEST_REST:
                    del self._rows[id_]
            return [id_ for id_, (until, _) in self._rows.items() if until > now]


def by_halves(
    connection: Connection,
    items: Sequence[T],
    write: Callable[[Sequence[T]], int | None],
    *,
    under_savepoint: bool = False,
) -> list[tuple[T, str]]:
    """`write(items)`; if that fails, write each half by itself, down to the item that is at fault.

    write: runs the statements and returns how many rows it wrote, or None where fewer are right. A
    trigger that swallows a row counts as a failure. under_savepoint: SAVEPOINT was sent already.
    Returns the items that cannot be written, each with the reason. Raises only if the connection is
    lost.
    """
    if not items:
        return []
    if not under_savepoint:
        connection.execute(SAVEPOINT)
    try:
        written = write(items)
        if written is None or written == len(items):
            return []
        reason = f"{len(items) - written} row(s) did not take the update (a trigger?)"
    except psycopg.Error as error:
        if lost(connection):
            raise
        reason = str(error).partition("\n")[0]
    connection.execute(BACK)
    if len(items) == 1:
        return [(items[0], reason)]
    middle = len(items) // 2
    return by_halves(connection, items[:middle], write) + by_halves(
        connection, items[middle:], write
    )


def write_receipts(connection: Connection, table: JobTable, receipts: Sequence[Receipt]) -> None:
    """Write receipts beside the rows; without those that cannot be written, the rows stand.

    A job whose delivery is confirmed is not sent again only because nobody can say where it went.
    """
    if not receipts:
        return
    connection.execute(SAVEPOINT)
    try:
        table.keep_receipts(connection, receipts)
    except psycopg.Error as error:
        if lost(connection):
            raise
        connection.execute(BACK)
        reason = str(error).partition("\n")[0]
        log.error("%d receipts were not kept, their jobs are settled: %s", len(receipts), reason)


def write_locked(
    connection: Connection,
    table: JobTable,
    feed: Feed,
    rows: Sequence[int | Settlement],
    states: dict[int, JobState],
) -> int:
    """Settle locked rows; the usual case, everything delivered, is one statement.

    rows: the ids of delivered jobs, and a settlement for each of the others. states: gets what the
    others got.
    """
    if feed.delete_delivered:
        rows = [row.id if _completed(row) else row for row in rows]
    delivered = [row for row in rows if isinstance(row, int)]
    written = 0
    if delivered:
        finish = table.delete if feed.delete_delivered else table.complete
        written += finish(connection, delivered)
    if len(delivered) < len(rows):
        got = table.settle(connection, [row for row in rows if isinstance(row, Settlement)])
        written += len(got)
        states.update(got)
    return written


def _completed(row: int | Settlement) -> TypeGuard[Settlement]:
    return isinstance(row, Settlement) and row.state is JobState.COMPLETED


def write_leased(
    connection: Connection,
    table: JobTable,
    feed: Feed,
    items: Sequence[tuple[Lease, Settlement]],
) -> dict[int, JobState]:
    """Settle leases that are still ours; returns what those got."""
    written: dict[int, JobState] = {}
    if feed.delete_delivered:
        done = [lease for lease, s in items if s.state is JobState.COMPLETED]
        if done:
            deleted = table.delete_leased(connection, done)
            written = dict.fromkeys(deleted, JobState.COMPLETED)
        items = [item for item in items if item[0].job.id not in written]
    if items:
        written |= table.settle_leased(connection, items)
    return written
