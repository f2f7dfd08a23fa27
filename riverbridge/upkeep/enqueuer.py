"""Periodic jobs are inserted when they are due (contract 7.4), durable ones exactly once."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import psycopg

from riverbridge.model.options import InsertManyParams, InsertOpts, NewJob, new_job
from riverbridge.model.schedule import (
    FOREVER,
    MARGIN,
    Due,
    NeverSchedule,
    fingerprint,
    following,
    runs_due,
)
from riverbridge.store import periodic
from riverbridge.store.clock import database_now
from riverbridge.store.database import lost
from riverbridge.store.limits import bounded_transaction, limit_lock_waits
from riverbridge.store.periodic import NextRun
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs

INTERVAL = 60.0
"""Seconds after which the clock and the stored runs are looked at again, whatever is due."""

LOOK = 2.0
"""Seconds between two looks for runs that somebody wants at once."""

PRUNE_INTERVAL = 3600.0
KEEP_UNKNOWN = timedelta(days=30)
LONGEST_RETRY = 300.0

LOCK_LIMIT = 3.0
"""Seconds that an insert may wait for another transaction, such as one with the same unique key. A
lane holds its rows for less, and waiting longer would hold up the other jobs."""

Insert = Callable[[psycopg.Connection, Sequence[NewJob]], object]
"""Inserts and announces jobs in the transaction that is open on the connection."""

_NO_TABLE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
_AT_ONCE = datetime.min.replace(tzinfo=UTC)

logger = logging.getLogger(__name__)


class _Plan(NamedTuple):
    """What is to be done about one job. stored: a durable job's row as it stands."""

    handle: int
    job: PeriodicJob
    due: Due
    stored: periodic.StoredRun | None = None


class _Made(NamedTuple):
    """A plan, and the rows of its runs."""

    plan: _Plan
    jobs: Sequence[NewJob]


class PeriodicEnqueuer(Duty):
    """Inserts the jobs of `jobs` as their schedules say, while this process leads.

    The runs of an instant are inserted in one transaction, up to 100 ms before their time, each as
    `available` with its run's time as scheduled_at unless its options give one. Metadata says
    `periodic` and, where the job has an id, `river:periodic_job_id`. A run whose job cannot be made
    or inserted is logged and holds up no other; a durable job then tries again after 1, 2, 4 …
    seconds, at most five minutes, while for any other that run is lost.

    Durable jobs need version 12 of the line `riverbridge`. When their schedule has changed they go
    on by the new one from now; a run that the old one still owed is made first. A job that no
    leader has known for 30 days is forgotten. One that is paused goes on by its schedule and makes
    no runs, but for those that somebody asks for.

    insert: how jobs get into the table. defaults: what neither a job's options nor its args say.
    now: the clock that schedules go by, the database's own.

    inserted: jobs inserted since the start.
    """

    name = "periodic"

    def __init__(
        self,
        jobs: PeriodicJobs,
        insert: Insert,
        *,
        defaults: InsertOpts | None = None,
        schema: str | None = None,
        now: Callable[[psycopg.Connection], datetime] = database_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(INTERVAL, clock)
        self.inserted = 0
        self._jobs = jobs
        self._insert = insert
        self._defaults = defaults
        self._schema = schema
        self._now = now
        self._changed = threading.Event()
        self._prune_due = 0.0
        # By handle: when to look at it again, which without durability is its next run.
        self._next: dict[int, datetime] = {}
        # By handle: not before then, as something was in the way; and how often in a row.
        self._held: dict[int, datetime] = {}
        self._tries: dict[int, int] = {}
        jobs.on_change = self._wake

    def begin(self) -> None:
        """A term begins: what a former one knew is forgotten."""
        super().begin()
        self._prune_due = self._clock()
        for memory in (self._next, self._held, self._tries):
            memory.clear()

    def step(self, conn: psycopg.Connection, limit: float) -> None:
        """Insert what is due, and be due again when the next run is."""
        self._changed.clear()
        super().step(conn, limit)
        if self._changed.is_set():
            self.due = self._clock()

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        """Insert all runs that are due, in one transaction."""
        jobs = self._known()
        with bounded_transaction(conn, limit):
            read_at, now = self._clock(), self._now(conn)
            asked = self._asked(conn, jobs.values())
            looked_at = {
                handle: job
                for handle, job in jobs.items()
                if self._look(handle, job.id in asked) < now + MARGIN
            }
            # The stored ones first: where the connection is gone, the others have not moved on.
            plans = self._plans_stored(conn, looked_at, now) + self._plans_in_memory(looked_at, now)
            done = self._carry_out(conn, plans, now)
            self._store(conn, [made.plan for made in done], jobs.values())
        # Only now: had the transaction failed, durable jobs would have to be looked at again.
        for plan, rows in done:
            self.inserted += len(rows)
            self._tries.pop(plan.handle, None)
            if plan.stored is not None:
                self._next[plan.handle] = min(plan.due.next, now + timedelta(seconds=INTERVAL))
        wake = (min(map(self._look, jobs), default=FOREVER) - now).total_seconds()
        durable = any(job.durable for job in jobs.values())
        self._wake_at = read_at + (min(wake, LOOK) if durable else wake)
        return 0

    def _wake(self) -> None:
        """The bundle has changed; from any thread. In this order, `step` cannot overlook it."""
        self._changed.set()
        self.due = self._clock()

    def _known(self) -> dict[int, PeriodicJob]:
        jobs = self._jobs.all()
        for memory in (self._next, self._held, self._tries):
            for handle in memory.keys() - jobs.keys():
                del memory[handle]
        return jobs

    def _look(self, handle: int, asked: bool = False) -> datetime:
        """When the job is to be looked at; at once if it is new, or a run of it is asked for."""
        due = _AT_ONCE if asked else self._next.get(handle, _AT_ONCE)
        return max(due, self._held.get(handle, _AT_ONCE))

    def _asked(self, conn: psycopg.Connection, jobs: Iterable[PeriodicJob]) -> set[str | None]:
        """The ids of those that somebody wants to run at once."""
        ids = [job.id for job in jobs if job.durable and job.id]
        if not ids:
            return set()
        try:
            with conn.transaction():
                return {*periodic.asked(conn, ids, schema=self._schema)}
        except _NO_TABLE:
            return set()  # which is said where the rows are locked

    def _plans_in_memory(self, jobs: Mapping[int, PeriodicJob], now: datetime) -> list[_Plan]:
        plans = []
        for handle, job in jobs.items():
            if job.durable:
                continue
            try:
                if (first := self._next.get(handle)) is None:
                    due = Due([now] if job.run_on_start else [], following(job.schedule, now))
                else:
                    due = runs_due(job.schedule, first, now, "run_all")
            except Exception as error:
                self._hold(handle, job, error, now)
                continue
            # It moves on, whatever becomes of the insert: rather one run too few than one too many.
            self._next[handle] = due.next
            plans.append(_Plan(handle, job, due))
        return plans

    def _plans_stored(
        self, conn: psycopg.Connection, jobs: Mapping[int, PeriodicJob], now: datetime
    ) -> list[_Plan]:
        durable = {job.id: (handle, job) for handle, job in jobs.items() if job.durable and job.id}
        if not durable:
            return []
        try:
            with conn.transaction():
                rows = self._lock(conn, durable, now)
        except psycopg.Error as error:
            if lost(conn):
                raise
            if isinstance(error, _NO_TABLE):
                logger.error("durable periodic jobs need a table: run `riverbridge migrate up`")
            for handle, job in durable.values():
                self._hold(handle, job, error, now)
            return []
        plans = []
        for row in rows:
            handle, job = durable.pop(row.run.id)
            try:
                plans.append(_Plan(handle, job, _due(job, row, now), row))
            except Exception as error:
                self._hold(handle, job, error, now)
        for handle, _ in durable.values():  # another leader has them in hand
            self._held[handle] = max(self._look(handle), now + timedelta(seconds=1))
        return plans

    def _lock(
        self,
        conn: psycopg.Connection,
        durable: Mapping[str, tuple[int, PeriodicJob]],
        now: datetime,
    ) -> Sequence[periodic.StoredRun]:
        new = []
        for id_, (handle, job) in durable.items():
            if handle in self._next:
                continue
            try:
                first = now if job.run_on_start else following(job.schedule, now)
            except Exception as error:
                self._hold(handle, job, error, now)
            else:
                new.append(NextRun(id_, fingerprint(job.schedule), first))
        if new:
            periodic.create(conn, new, schema=self._schema)
        return periodic.lock(conn, list(durable), schema=self._schema)

    def _carry_out(
        self, conn: psycopg.Connection, plans: Sequence[_Plan], now: datetime
    ) -> list[_Made]:
        """Insert the runs of `plans`; what is done. All at once, or else each by itself."""
        made = []
        for plan in plans:
            try:
                made.append(_Made(plan, self._new_jobs(plan)))
            except Exception as error:
                self._failed(plan, error, now)
        limit_lock_waits(conn, LOCK_LIMIT)
        if self._refused(conn, [job for each in made for job in each.jobs]) is None:
            return made
        done = []
        for each in made:
            if (refusal := self._refused(conn, each.jobs)) is None:
                done.append(each)
            else:
                self._failed(each.plan, refusal, now)
        return done

    def _new_jobs(self, plan: _Plan) -> list[NewJob]:
        rows = []
        for at in plan.due.runs:
            made = plan.job.constructor()
            if made is None:
                continue
            args, opts = made, None
            if isinstance(made, InsertManyParams):
                args, opts = made.args, made.opts
            marked = _marked(opts or InsertOpts(), plan.job.id)
            # The period of a unique job is the one its run is in, however late or early it is made.
            row = new_job(args, marked, defaults=self._defaults, now=at)
            # An instant among the options would make it `scheduled`; the run's own does not.
            rows.append(msgspec.structs.replace(row, scheduled_at=row.scheduled_at or at))
        return rows

    def _refused(self, conn: psycopg.Connection, jobs: Sequence[NewJob]) -> Exception | None:
        """Insert `jobs`; None, or why that was refused. Raises what broke the connection."""
        if jobs:
            try:
                with conn.transaction():
                    self._insert(conn, jobs)
            except Exception as error:
                if lost(conn):
                    raise
                return error
        return None

    def _store(
        self, conn: psycopg.Connection, done: Sequence[_Plan], known: Iterable[PeriodicJob]
    ) -> None:
        """Advance the rows of durable jobs; now and then, forget those that nobody knows."""
        stored = [(plan.stored, plan) for plan in done if plan.stored is not None]
        runs = []
        for row, plan in stored:
            run = NextRun(row.run.id, fingerprint(plan.job.schedule), plan.due.next)
            if row.stale or row.asked or run != row.run:
                runs.append(run)
        if runs:
            periodic.advance(conn, runs, schema=self._schema)
        if stored and self._clock() >= self._prune_due:
            self._prune_due = self._clock() + PRUNE_INTERVAL
            ids = [job.id for job in known if job.id is not None]
            forgotten = periodic.prune(conn, known=ids, keep=KEEP_UNKNOWN, schema=self._schema)
            if forgotten:
                logger.info("forgot periodic jobs that are no more: %s", ", ".join(forgotten))

    def _failed(self, plan: _Plan, error: Exception, now: datetime) -> None:
        if plan.job.durable:
            self._hold(plan.handle, plan.job, error, now)
        else:
            logger.error("%s: a run is lost: %s", _named(plan.job), error, exc_info=error)

    def _hold(self, handle: int, job: PeriodicJob, error: Exception, now: datetime) -> None:
        tries = self._tries[handle] = self._tries.get(handle, 0) + 1
        seconds = min(2.0 ** min(tries - 1, 16), LONGEST_RETRY)
        self._held[handle] = now + timedelta(seconds=seconds)
        logger.error(
            "%s failed and will try again in %g s: %s", _named(job), seconds, error, exc_info=error
        )


def _due(job: PeriodicJob, row: periodic.StoredRun, now: datetime) -> Due:
    run = row.run
    if run.schedule == fingerprint(job.schedule):
        due = runs_due(job.schedule, run.next_run_at, now, job.missed)
    else:
        # Of the schedule that was, only this run is known.
        owed = runs_due(NeverSchedule(), run.next_run_at, now, job.missed)
        due = Due(owed.runs, following(job.schedule, now))
    return Due([*([] if row.paused else due.runs), *([now] if row.asked else [])], due.next)


def _marked(opts: InsertOpts, id_: str | None) -> InsertOpts:
    marks: dict[str, object] = {"periodic": True}
    if id_ is not None:
        marks["river:periodic_job_id"] = id_
    return dataclasses.replace(opts, metadata={**(opts.metadata or {}), **marks})


def _named(job: PeriodicJob) -> str:
    return f"periodic job {job.id}" if job.id else f"periodic job of {job.schedule!r}"
