"""River's indexes are rebuilt once a day, as busy tables bloat them (contract 7.6)."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import psycopg

from riverbridge.model.schedule import CronSchedule, Schedule, following
from riverbridge.store.clock import database_now
from riverbridge.store.indexes import Index, drop_leftovers, find, rebuild
from riverbridge.store.limits import bounded_transaction, cancelled_when
from riverbridge.upkeep.duty import Duty

INTERVAL = 60.0
"""Seconds after which the clock is looked at again."""

DAILY = CronSchedule("0 0 * * *")

INDEXES = (
    "river_job_args_index",
    "river_job_kind",
    "river_job_metadata_index",
    "river_job_pkey",
    "river_job_prioritized_fetching_index",
    "river_job_state_and_finalized_at_index",
    "river_job_unique_idx",
)

TIDY_LIMIT = 15.0
END_LIMIT = 25.0

logger = logging.getLogger(__name__)


class Reindexer(Duty):
    """At each run of `schedule`, each of `indexes` is rebuilt concurrently, one after another.

    It is done in a thread and on connections of its own, so it may take longer than a term's trust.
    A rebuild that takes longer than `limit` seconds (None: no limit) is given up. What it leaves
    then stays, and that index is passed over until somebody drops it: the next rebuild would hardly
    fare better. At the end of the term a rebuild is cancelled, and what it leaves is dropped.

    connect: gives a new connection, whose role owns the indexes (Postgres 17: or has MAINTAIN).
    indexes: names in the schema of `river_job`; those that are not there are passed over. now: the
    clock that the schedule goes by, the database's own. It does not run when a term begins.

    rebuilt: indexes rebuilt since the start.
    """

    name = "reindexer"

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        *,
        schedule: Schedule = DAILY,
        indexes: Sequence[str] = INDEXES,
        limit: float | None = 60.0,
        schema: str | None = None,
        now: Callable[[psycopg.Connection], datetime] = database_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.rebuilt = 0
        self._connect = connect
        self._schedule = schedule
        self._indexes = tuple(indexes)
        self._limit = limit
        self._schema = schema
        self._now = now
        self._next: datetime | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """A term begins: the next run is the first of the schedule from now on."""
        super().begin()
        self._next = None

    def end(self) -> None:
        """Cancel the rebuild that is going on, if any, and drop what it leaves."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_LIMIT)

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Look at the clock, and start a run if it is time."""
        with bounded_transaction(conn, limit):
            read_at, now = self._clock(), self._now(conn)
        if self._next is None:
            self._next = following(self._schedule, now)
        elif self._next <= now:
            self._start()
            # From the run before, so that a late one does not move those after it.
            self._next = following(self._schedule, self._next)
        self._wake_at = read_at + (self._next - now).total_seconds()
        return 0

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            logger.warning("the indexes are still being rebuilt: this run is passed over")
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._rebuild_all, args=(self._stop,), name="reindexer", daemon=True
        )
        self._thread.start()

    def _rebuild_all(self, stop: threading.Event) -> None:
        for name in self._indexes:
            if stop.is_set():
                return
            try:
                self._rebuild(name, stop)
            except Exception as error:
                logger.warning("index %s was not rebuilt: %s", name, str(error).strip())

    def _rebuild(self, name: str, stop: threading.Event) -> None:
        # A connection for each, as a cancellation of the last may still be on its way.
        with self._session() as conn:
            index = find(conn, name, schema=self._schema)
            if index is None or not index.present:
                logger.warning("index %s is not there: run the migrations, or do not name it", name)
                return
            if index.leftovers:
                logger.warning(
                    "index %s is not rebuilt, as a former rebuild did not end: drop %s, and allow"
                    " more time",
                    name,
                    ", ".join(index.leftovers),
                )
                return
            try:
                with cancelled_when(conn, stop, self._limit):
                    rebuild(conn, index)
            except psycopg.Error:
                if stop.is_set():
                    self._tidy(index)
                raise
        self.rebuilt += 1
        logger.info("rebuilt index %s", name)

    def _tidy(self, index: Index) -> None:
        with self._session() as conn, cancelled_when(conn, threading.Event(), TIDY_LIMIT):
            found = find(conn, index.name, schema=self._schema)
            if found is not None:
                drop_leftovers(conn, found)

    @contextlib.contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        with contextlib.closing(self._connect()) as conn:
            conn.autocommit = True
            conn.prepare_threshold = None
            yield conn
