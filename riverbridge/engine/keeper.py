"""What a process does beside delivering: says that it lives, takes back what dead ones held, keeps
River's queue rows fresh, and looks how full the queues are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

import msgspec
import psycopg

from riverbridge import telemetry
from riverbridge.engine.batch import LOST, Feed, feed_of, settlement_by
from riverbridge.engine.followed import Followed
from riverbridge.engine.settling import Aside, by_halves
from riverbridge.engine.sieve import Sieve
from riverbridge.engine.slots import Slots
from riverbridge.engine.waking import Waker
from riverbridge.model.job import JobState
from riverbridge.model.outcome import Cancelled, Outcome, Retry
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.store.database import Connect, Connection, cut, lost, open_connection, transaction
from riverbridge.store.jobs import JobTable, Orphan
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import Depth, QueueTable

log = logging.getLogger(__name__)

BEAT = 2.0
"""Seconds between heartbeats."""

SILENCE = 8.0
"""Seconds without a heartbeat after which a process counts as dead and its leases as orphans."""

RESCUE = 1.0
"""Seconds between looks for dead processes."""

LOOK_AGAIN = 15.0
"""Seconds until a dead process that left nothing is looked at again: rows that another session held
just then were passed over."""

STATEMENT = 3.0
"""Seconds a step's statement may take: with `BEAT`, well within `SILENCE`."""

STRAY = 10.0
"""Seconds after which a lease of this process that no lane knows of is taken back."""

MEASURE = 5.0
"""Seconds between two looks at how full a queue is."""

PAUSES = 0.5
"""Seconds between looks at what somebody has paused."""

FIND = 1.0
"""Seconds between looks for queues that match a glob."""

RESCUE_BATCH = 1000

ALARM = 60.0
"""Seconds between two log lines about the same queue's unmatched jobs."""


Step = Callable[[Connection], Callable[[], None] | None]
"""What is done in one transaction; it may return what is to be done after the commit."""


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
        held: Callable[[], Collection[int]] = tuple,
        exclusive: bool = True,
        slots: Sequence[Slots] = (),
    ) -> None:
        """crashed: records found at the start, forgotten once `guard_over` says that the lanes have
        got past what may have killed them. held: the leases that the lanes know of; others of this
        process that are `STRAY` seconds old are lost to it. exclusive: other clients of River have
        no business in these queues, and are reported. slots: kept too.
        """
        self._connect = connect
        self._slots = list(slots)
        self._jobs = jobs
        self._processes = processes
        self._queues = queues
        self._exclusive = exclusive
        self.serve(feeds)
        self._wakers = list(wakers)
        self._aside = aside
        self._crashed = list(crashed)
        self._guard_over = guard_over
        self._held = held
        self._connection: Connection | None = None
        self._followed: Followed | None = None
        self._obey: Step | None = None
        self._further: list[tuple[float, str, Step]] = []
        self._empty: dict[str, float] = {}
        self._strangers: set[tuple[str, str]] = set()
        self._alarmed: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self.progress = time.monotonic()

    def serve(self, feeds: Sequence[Feed]) -> None:
        """Look after these feeds from now on. Any thread may call."""
        self._feeds = list(feeds)
        self._names = sorted({feed.queue for feed in feeds})
        for slots in self._slots:
            slots.serve(feeds)

    def follow(self, followed: Followed) -> None:
        """Look for the queues that are served once they have jobs. Call before `run`."""
        self._followed = followed

    def obey(self, step: Step) -> None:
        """Have `step` read what is paused beside queues, and act on it. Call before `sign_on`."""
        self._obey = step
        self.also(PAUSES, "read what is paused", step)

    def also(self, interval: float, name: str, step: Step) -> None:
        """Have `step` run, too, every `interval` seconds. Call before `run`."""
        self._further.append((interval, name, step))

    def run(self, stop: threading.Event) -> None:
        """Run the steps until `stop`; then, on a clean end, remove this process's record."""
        steps: list[tuple[float, str, Step]] = [
            (BEAT, "beat", self._beat),
            (RESCUE, "rescue", self._rescue),
            (BEAT, "read pauses", self._read_pauses),
            (MEASURE / 20, "measure", self._measure_next),
            (600.0, "refresh queues", self._refresh_queues),
            (10.0, "recover own leases", self._recover_own),
            (5.0, "forget", self._forget),
        ]
        steps += [(RESCUE / 2, f"keep slots of {s.sink}", s.keep) for s in self._slots]
        if self._exclusive:
            steps.append((30.0, "look for strangers", self._look_for_strangers))
        if self._followed is not None:
            steps.append((FIND, "find queues", self._find_queues))
        steps += self._further
        due = [0.0] * len(steps)
        while not stop.is_set():
            connection = open_connection(self._connect, stop)
            if connection is None:
                return
            self._connection = connection
            with connection:
                while not (stop.is_set() or lost(connection)):
                    for place in range(len(steps)):
                        # The beat again before each: others may take long, and a process that does
                        # not beat counts as dead.
                        for at in (0, place):
                            if time.monotonic() >= due[at] and not lost(connection):
                                interval, name, step = steps[at]
                                due[at] = time.monotonic() + interval
                                self._do(connection, name, step)
                    self.progress = time.monotonic()
                    stop.wait(max(0.05, min(due) - time.monotonic()))
            if not stop.is_set():
                stop.wait(0.5)

    def unstick(self) -> None:
        """End the connection under a keeper that makes no progress: its server may hang."""
        if self._connection is not None:
            cut(self._connection)

    def sign_on(self, stop: threading.Event) -> None:
        """Record this process before it leases anything, as without a record nobody would miss it;
        and learn what is paused before anything is claimed. Waits for the database until `stop`.
        """
        connection = open_connection(self._connect, stop)
        if connection is not None:
            with connection:
                self._beat(connection)
                self._refresh_queues(connection)
                self._read_pauses(connection)
                if self._obey is not None:
                    self._obey(connection)

    def sign_off(self) -> None:
        """Remove this process's record, as it stopped cleanly; jobs it still holds come back first.

        Such jobs are rare: a lane that lost its connection in its last moment left them. While any
        is held the record stays, so that others take them back.
        """
        me = self._processes.id
        try:
            with (
                self._connect() as connection,
                transaction(connection, idle=5.0, total=15.0, statement=5.0),
            ):
                self._recover(connection, age=0.0)
                removed = self._processes.forget(connection, [me])
        except psycopg.Error as error:
            log.warning("could not sign off; others will take this for a crash: %s", error)
        else:
            if me not in removed:
                log.warning("jobs of this process are still out; others will take them back")

    def _do(self, connection: Connection, name: str, step: Step) -> None:
        try:
            with transaction(connection, idle=10.0, total=30.0, statement=STATEMENT):
                committed = step(connection)
            if committed is not None:
                committed()
        except psycopg.Error as error:
            log.warning("upkeep step failed, will be repeated (%s): %s", name, str(error).strip())

    def _beat(self, connection: Connection) -> None:
        self._processes.beat(connection, self._names)

    def _refresh_queues(self, connection: Connection) -> None:
        self._queues.upsert(connection, self._names)

    def _read_pauses(self, connection: Connection) -> None:
        before = [(waker, waker.pauses) for waker in self._wakers]
        paused = self._queues.paused(connection, self._names)
        for waker, pauses in before:
            waker.set_paused(paused, pauses)

    def _find_queues(self, connection: Connection) -> None:
        """Queues that match a glob; they are claimed from a round later, when this is committed."""
        assert self._followed is not None
        self._followed.admit()
        served = {feed.queue for feed in self._feeds}
        come = self._followed.look(self._queues.waiting(connection))
        if come:
            self.serve([*self._feeds, *come])
            self._queues.upsert(connection, sorted({feed.queue for feed in come} - served))
            self._beat(connection)
            self._read_pauses(connection)

    def _rescue(self, connection: Connection) -> None:
        """Leases of dead processes cost the attempt and come back (T15 to T17, with our fence)."""
        dead = self._processes.dead(connection, SILENCE)
        now = time.monotonic()
        self._empty = {owner: at for owner, at in self._empty.items() if owner in dead}
        for owner, queues in dead.items():
            if now - self._empty.get(owner, -LOOK_AGAIN) < LOOK_AGAIN:
                continue
            orphans = self._jobs.orphans(
                connection, owners=[owner], queues=queues, limit=RESCUE_BATCH
            )
            if not orphans:
                self._empty[owner] = now
            reason = f"the process {owner} died with this job in delivery"
            self._take_back(connection, reason, orphans)

    def _recover_own(self, connection: Connection) -> None:
        self._recover(connection, age=STRAY, held=self._held())

    def _recover(self, connection: Connection, *, age: float, held: Collection[int] = ()) -> None:
        """Leases of this process that no lane knows of: a commit took place, and its answer and the
        connection were lost. Nobody else would touch them while this process lives."""
        me = self._processes.id
        lost_track = self._jobs.orphans(
            connection, owners=[me], queues=self._names, limit=RESCUE_BATCH, age=age, held=held
        )
        self._take_back(connection, f"the process {me} lost track of this job", lost_track)

    def _take_back(self, connection: Connection, reason: str, orphans: list[Orphan]) -> None:
        resting = set(self._aside.ids())
        rows: list[tuple[Lease, Settlement]] = []
        for orphan in orphans:
            job = orphan.lease.job
            if job.id in resting:
                continue
            feed = feed_of(self._feeds, job)
            next_retry = feed.next_retry if feed else None
            outcome: Outcome = Retry(reason, delay=next_retry(job) if next_retry else None)
            if orphan.cancel_marked:
                outcome = Cancelled(reason)
            row = settlement_by(feed, job, outcome)
            assert row is not None  # a Retry always leaves a row
            noted: dict[str, object] = {"river:rescue_count": orphan.rescues + 1}
            dies = feed and row.state is JobState.DISCARDED and feed.terms_of(job).dead_letters
            # Without an object to note it in, the job would come back without end.
            if dies and job.metadata.startswith("{"):
                row = msgspec.structs.replace(row, state=JobState.AVAILABLE, delay=0.0)
                noted[LOST] = {"attempt": row.attempt, "error": reason}
            text = msgspec.json.encode(noted).decode()
            rows.append((orphan.lease, msgspec.structs.replace(row, metadata=text)))

        def write(items: Sequence[tuple[Lease, Settlement]]) -> int:
            return len(self._jobs.settle_leased(connection, items))

        failed = by_halves(connection, rows, write)
        for (lease, _), why in failed:
            feed = feed_of(self._feeds, lease.job)
            if feed is not None:
                self._aside.add(lease.job.id, feed, why)
        if rows:
            taken = len(rows) - len(failed)
            telemetry.rescued.add(taken)
            log.warning("took back %d job(s): %s", taken, reason)

    def _measure_next(self, connection: Connection) -> None:
        """One queue at a time, as counting a full one takes long."""
        never = float("-inf")
        queue = min(self._names, key=lambda name: self._measured.get(name, never), default=None)
        if queue is not None and time.monotonic() - self._measured.get(queue, never) >= MEASURE:
            self._measured[queue] = time.monotonic()
            self._measure(connection, queue)

    def _measure(self, connection: Connection, queue: str) -> None:
        depth = self._queues.depth(connection, queue)
        telemetry.queue_jobs.set(depth.jobs, {"queue": queue})
        telemetry.queue_oldest.set(depth.oldest_seconds, {"queue": queue})
        feeds = [feed for feed in self._feeds if feed.queue == queue]
        kinds = [kind for feed in feeds for kind in feed.kinds if feed.taken]
        sieves = [feed.sieve for feed in feeds if feed.sieve is not None]
        all_kinds = "%" in kinds or any(not feed.taken for feed in feeds)
        if all_kinds and not sieves:
            return
        left = Depth(0, 0.0) if all_kinds else self._queues.unmatched(connection, queue, kinds)
        for sieve in sieves:
            left = _both(left, self._left_by(connection, sieve))
        telemetry.unmatched_jobs.set(left.jobs, {"queue": queue})
        telemetry.unmatched_oldest.set(left.oldest_seconds, {"queue": queue})
        if left.jobs and time.monotonic() - self._alarmed.get(queue, -ALARM) >= ALARM:
            self._alarmed[queue] = time.monotonic()
            log.warning(
                "queue %s: no route takes %s%d due jobs, the oldest for %.0f s; "
                "they are left untouched",
                queue,
                "at least " if any(sieve.crowded() for sieve in sieves) else "",
                left.jobs,
                left.oldest_seconds,
            )

    def _left_by(self, connection: Connection, sieve: Sieve) -> Depth:
        """Those a condition left that still wait; the others are forgotten."""
        ids = sieve.unmatched()
        waiting = self._jobs.waiting(connection, ids)
        sieve.forget(set(ids) - waiting.keys())
        return Depth(len(waiting), max(waiting.values(), default=0.0))

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
        answered = self._crashed if self._guard_over() else ()
        removed = self._processes.forget(
            connection, [id_ for id_ in answered if id_ in self._empty]
        )
        self._crashed = [id_ for id_ in self._crashed if id_ not in removed]


def _both(one: Depth, other: Depth) -> Depth:
    return Depth(one.jobs + other.jobs, max(one.oldest_seconds, other.oldest_seconds))
