"""What a process does beside delivering: says that it lives, takes back what dead ones held, keeps
River's queue rows fresh, and looks how full the queues are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import psycopg

from riverbridge import telemetry
from riverbridge.engine.batch import Feed
from riverbridge.engine.settling import Aside, by_halves
from riverbridge.engine.waking import Waker
from riverbridge.model.outcome import Cancelled, Outcome, Retry
from riverbridge.model.retry import RiverRetry
from riverbridge.model.settlement import Lease, Settlement, settlement
from riverbridge.store.database import Connect, Connection, lost, open_connection, transaction
from riverbridge.store.jobs import JobTable, Orphan
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable

log = logging.getLogger(__name__)

BEAT = 2.0
"""Seconds between heartbeats."""

SILENCE = 8.0
"""Seconds without a heartbeat after which a process counts as dead and its leases as orphans."""

RESCUE = 1.0
"""Seconds between looks for dead processes."""

RESCUE_BATCH = 1000

ALARM = 60.0
"""Seconds between two log lines about the same queue's unmatched jobs."""


class Keeper:
    """One thread, one connection; runs each step at its own interval and survives its failures."""

    def __init__(
        self,
        *,
        connect: Connect,
        jobs: JobTable,
        processes: ProcessTable,
        queues: QueueTable,
        feeds: Sequence[Feed],
        wakers: Sequence[Waker],
        aside: Aside,
        crashed: Sequence[str] = (),
        guard_over: Callable[[], bool] = lambda: True,
    ) -> None:
        """crashed: records found at the start, forgotten once `guard_over` says that the lanes have
        got past what may have killed them."""
        self._connect = connect
        self._jobs = jobs
        self._processes = processes
        self._queues = queues
        self._feeds = list(feeds)
        self._names = sorted({feed.queue for feed in feeds})
        self._wakers = list(wakers)
        self._aside = aside
        self._crashed = list(crashed)
        self._guard_over = guard_over
        self._empty: set[str] = set()
        self._strangers: set[tuple[str, str]] = set()
        self._alarmed: dict[str, float] = {}
        self.progress = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Run the steps until `stop`; then, on a clean end, remove this process's record."""
        steps: list[tuple[float, Callable[[Connection], None]]] = [
            (BEAT, self._beat),
            (RESCUE, self._rescue),
            (BEAT, self._read_pauses),
            (5.0, self._measure),
            (30.0, self._look_for_strangers),
            (600.0, self._refresh_queues),
            (5.0, self._forget),
        ]
        due = [0.0] * len(steps)
        while not stop.is_set():
            connection = open_connection(self._connect, stop)
            if connection is None:
                return
            with connection:
                while not (stop.is_set() or lost(connection)):
                    for place, (interval, step) in enumerate(steps):
                        if time.monotonic() >= due[place] and not lost(connection):
                            due[place] = time.monotonic() + interval
                            self._do(connection, step)
                    self.progress = time.monotonic()
                    stop.wait(max(0.05, min(due) - time.monotonic()))
            if not stop.is_set():
                stop.wait(0.5)

    def sign_off(self) -> None:
        """Remove this process's record: it stopped cleanly and holds nothing any more."""
        try:
            with self._connect() as connection:
                self._processes.remove(connection, [self._processes.id])
        except psycopg.Error as error:
            log.warning("could not sign off; others will take this for a crash: %s", error)

    def _do(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        try:
            with transaction(connection, idle=10.0, total=30.0, statement=10.0):
                step(connection)
        except psycopg.Error as error:
            name = step.__name__.strip("_").replace("_", " ")
            log.warning("upkeep step failed, will be repeated (%s): %s", name, str(error).strip())

    def _beat(self, connection: Connection) -> None:
        self._processes.beat(connection, self._names)

    def _refresh_queues(self, connection: Connection) -> None:
        self._queues.upsert(connection, self._names)

    def _read_pauses(self, connection: Connection) -> None:
        paused = self._queues.paused(connection, self._names)
        for waker in self._wakers:
            waker.set_paused(paused)

    def _rescue(self, connection: Connection) -> None:
        """Leases of dead processes cost the attempt and come back (T15 to T17, with our fence)."""
        dead = self._processes.dead(connection, SILENCE)
        self._empty &= dead.keys()
        for owner, queues in dead.items():
            if owner in self._empty:
                continue
            orphans = self._jobs.orphans(
                connection, owners=[owner], queues=queues, limit=RESCUE_BATCH
            )
            if not orphans:
                self._empty.add(owner)
            resting = set(self._aside.ids())
            orphans = [orphan for orphan in orphans if orphan.lease.job.id not in resting]
            if orphans:
                self._take_back(connection, owner, orphans)

    def _take_back(self, connection: Connection, owner: str, orphans: list[Orphan]) -> None:
        rows: list[tuple[Lease, Settlement]] = []
        for orphan in orphans:
            job = orphan.lease.job
            feed = self._feed_of(job.queue)
            reason = f"the process {owner} died with this job in delivery"
            outcome: Outcome = Retry(reason)
            if orphan.cancel_marked:
                outcome = Cancelled(reason)
            row = settlement(
                job,
                outcome,
                retry=feed.retry if feed else RiverRetry(),
                max_attempts=feed.max_attempts if feed else None,
            )
            assert row is not None  # a Retry always leaves a row
            rows.append((orphan.lease, row))

        def write(items: Sequence[tuple[Lease, Settlement]]) -> int:
            return len(self._jobs.settle_leased(connection, items))

        failed = by_halves(connection, rows, write)
        for (lease, _), reason in failed:
            feed = self._feed_of(lease.job.queue)
            if feed is not None:
                self._aside.add(lease.job.id, feed, reason)
        taken = len(rows) - len(failed)
        telemetry.rescued.add(taken)
        log.warning("took back %d jobs of %s, which died with them", taken, owner)

    def _feed_of(self, queue: str) -> Feed | None:
        return next((feed for feed in self._feeds if feed.queue == queue), None)

    def _measure(self, connection: Connection) -> None:
        for queue in self._names:
            depth = self._queues.depth(connection, queue)
            telemetry.queue_jobs.set(depth.jobs, {"queue": queue})
            telemetry.queue_oldest.set(depth.oldest_seconds, {"queue": queue})
            kinds = [kind for f in self._feeds if f.queue == queue for kind in f.kinds if f.taken]
            if "%" in kinds or any(not f.taken for f in self._feeds if f.queue == queue):
                continue
            left = self._queues.unmatched(connection, queue, kinds)
            telemetry.unmatched_jobs.set(left.jobs, {"queue": queue})
            telemetry.unmatched_oldest.set(left.oldest_seconds, {"queue": queue})
            if left.jobs and time.monotonic() - self._alarmed.get(queue, -ALARM) >= ALARM:
                self._alarmed[queue] = time.monotonic()
                log.warning(
                    "queue %s: %d due jobs are of kinds no route takes, the oldest for %.0f s; "
                    "they are left untouched",
                    queue,
                    left.jobs,
                    left.oldest_seconds,
                )

    def _look_for_strangers(self, connection: Connection) -> None:
        for queue, owners in self._queues.strangers(connection, self._names).items():
            for owner in owners:
                if (queue, owner) not in self._strangers:
                    self._strangers.add((queue, owner))
                    log.warning(
                        "%s works jobs of the bridged queue %s; a bridged queue belongs to "
                        "riverbridge: take the queue out of that client's configuration",
                        owner,
                        queue,
                    )

    def _forget(self, connection: Connection) -> None:
        self._processes.prune(connection)
        if self._crashed and self._guard_over():
            self._processes.remove(connection, [id_ for id_ in self._crashed if id_ in self._empty])
            self._crashed = [id_ for id_ in self._crashed if id_ not in self._empty]
