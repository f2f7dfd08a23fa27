"""A process's workers, running: lanes that claim, executors that run functions, and a leader.

Threads: lanes, keeper, listener, leader, and those of the executors. Each lane has a connection,
and so have keeper, listener and leader: at most lanes + 3.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Literal, Self

from riverbridge.engine.batch import Feed
from riverbridge.engine.crew import Crew, Manning
from riverbridge.engine.identity import VERSION, client_id, crashed_before, process_table
from riverbridge.engine.lane import Limits
from riverbridge.engine.listener import Control
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.model.globs import to_like
from riverbridge.model.names import check_schema_name, queue_problem
from riverbridge.model.retry import RetryPolicy, RiverRetry
from riverbridge.model.schedule import Schedule
from riverbridge.store.database import Connect, connector, first_connection
from riverbridge.store.dsn import parse_dsn
from riverbridge.store.schema_check import check_schema
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.historian import Historian
from riverbridge.upkeep.leader import Leader
from riverbridge.upkeep.periodic import PeriodicJobs
from riverbridge.upkeep.queue_cleaner import QueueCleaner
from riverbridge.upkeep.reindexer import DAILY, Reindexer
from riverbridge.upkeep.rescuer import Rescuer
from riverbridge.upkeep.scheduler import Scheduler
from riverbridge.worker.enqueuing import enqueuer
from riverbridge.worker.events import Event, EventKind, Events
from riverbridge.worker.executor import Executor, QueueConfig
from riverbridge.worker.lost import LostJobs
from riverbridge.worker.registry import Workers
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.verdict import ErrorHandler
from riverbridge.worker.watch import STUCK_AFTER, StuckHandler

log = logging.getLogger(__name__)

GUARDED = 2000
"""Jobs that each lane leases before they run, after a process died without signing off."""

UNSTICK = 1.0
"""Seconds between looks for parts that stand still."""


@dataclass(frozen=True)
class Retention:
    """How long finished jobs stay, where this process leads; None keeps them (contract 7.1)."""

    completed: timedelta | None = timedelta(hours=24)
    cancelled: timedelta | None = timedelta(hours=24)
    discarded: timedelta | None = timedelta(days=7)


@dataclass(frozen=True)
class PoolOptions:
    """How a pool works; times in seconds.

    schema: where River's tables are; None leaves it to the search path. name: shown in the client
    id, the host's by default. job_timeout: for kinds without one of their own; None: no limit.
    retry: for kinds without a policy of their own. soft_stop_timeout: what a stop gives running
    jobs before it cancels them; None: any time. unknown: jobs of kinds that nobody here works are
    left to other clients (`leave`) or failed as River does (`fail`).

    poll_interval: between looks at a quiet queue. listen_dsn: a direct connection for LISTEN, where
    the other goes through a pooler; without one there, or with poll_only, queues are polled alone.
    hold: how long jobs are held under row locks before those still running get a row version of
    their own. lanes: threads that claim and settle, each with a connection.

    elections: whether this process may lead, and then moves due jobs on, inserts periodic ones and
    cleans up. reindex, reindex_schedule: whether and when it rebuilds River's indexes; at midnight
    UTC unless told otherwise. rescue_after: how long a job of another client may be running, beyond
    which it counts as stuck if its kind has no longer timeout; River's own is an hour. stuck_after:
    how long beyond its timeout a job of this process may run until `on_stuck` is told.
    """

    schema: str | None = None
    name: str | None = None
    job_timeout: float | None = 60.0
    soft_stop_timeout: float | None = None
    poll_interval: float = 1.0
    poll_only: bool = False
    pooler: bool = False
    listen_dsn: str | None = None
    hold: float = 1.0
    lanes: int = 2
    elections: bool = True
    reindex: bool = True
    rescue_after: timedelta = timedelta(hours=1)
    stuck_after: float = STUCK_AFTER
    reindex_schedule: Schedule = DAILY
    unknown: Literal["leave", "fail"] = "leave"
    retention: Retention = Retention()
    retry: RetryPolicy = field(default_factory=RiverRetry)


class WorkerPool:
    """Works jobs until it is stopped. Construct, `start`, `stop`; or use it as a context manager.

    dsn: the database, migrated (`riverbridge migrate up`). queues: by name. periodic: inserted
    while this process leads. client: what jobs see as `job.client`.

    It runs beside River's Go clients and other pools on the same tables and queues.
    """

    def __init__(
        self,
        dsn: str,
        workers: Workers,
        queues: Mapping[str, QueueConfig],
        options: PoolOptions | None = None,
        *,
        periodic: PeriodicJobs | None = None,
        error_handler: ErrorHandler | None = None,
        on_stuck: StuckHandler | None = None,
        client: object = None,
    ) -> None:
        """Open nothing yet. Raises ConfigurationError for what cannot work."""
        self.options = options = options or PoolOptions()
        parse_dsn(dsn)
        if options.schema:
            check_schema_name(options.schema)
        if not workers.kinds():
            raise ConfigurationError("workers: none is registered; register one for each kind")
        for name in queues:
            _check_queue(name)
        self.client_id = client_id(options.name)
        self.events = Events()
        self._dsn = dsn
        self._workers = workers
        self._periodic = periodic
        self._error_handler = error_handler
        self._client = client
        self._on_stuck = on_stuck
        self._queues = dict(queues)
        self._feeds: dict[str, Feed] = {}
        self._stop = threading.Event()
        self._rest = Supervisor(self._stop)
        self._runtime: Runtime | None = None
        self._crew: Crew | None = None

    def start(self, stop: threading.Event | None = None) -> None:
        """Wait for the database until `stop`, look at its tables, then work.

        Raises ConfigurationError for a database that refuses this role, SchemaError for tables this
        release cannot serve.
        """
        options = self.options
        connect = connector(self._dsn, application_name=self.client_id, pooler=options.pooler)
        processes = process_table(options.schema, self.client_id)
        stop = stop or threading.Event()
        connection = first_connection(connect, stop)
        if connection is None:
            return
        with connection:
            check_schema(connection, options.schema)
            crashed = crashed_before(connection, processes, GUARDED)
        runtime = self._runtime = Runtime(stuck_after=options.stuck_after, on_stuck=self._on_stuck)
        self._feeds = {name: self._feed(runtime, name) for name in self._queues}
        limits = Limits(
            hold=options.hold,
            deadline=math.inf,
            guarded=GUARDED if crashed else 0,
            # Jobs may run for hours, so they cannot wait for each other.
            alone=False,
        )
        crew = self._crew = Crew(
            connect=connect,
            processes=processes,
            schema=options.schema,
            watches=[(options.lanes, list(self._feeds.values()))],
            manning=Manning(limits, poll=options.poll_interval, grace=math.inf),
            crashed=crashed,
            exclusive=False,
        )
        leader = self._leader(connect, runtime) if options.elections else None
        self._listen(crew, leader)
        runtime.start()
        crew.start(stop)
        if leader is not None:
            self._rest.start("leader", leader.run)
        self._rest.start("unstick", self._unstick)
        log.info(
            "riverbridge %s works %d kinds from %s as %s",
            VERSION,
            len(self._workers.kinds()),
            ", ".join(sorted(self._feeds)),
            self.client_id,
        )

    def stop(self, timeout: float | None = None) -> bool:
        """Claim no more and wait for what runs (contract 12, stage 5).

        Jobs still running after `soft_stop_timeout` are cancelled and go back to `available`, their
        attempt given back. timeout: seconds they get to end then; None: as long as it takes. Those
        left count as crashed once the process is gone. Returns whether all ended.
        """
        return self._end(self.options.soft_stop_timeout, timeout)

    def stop_and_cancel(self, timeout: float | None = None) -> bool:
        """As `stop`, cancelling what runs at once."""
        return self._end(0.0, timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def add_queue(self, name: str, config: QueueConfig) -> None:
        """Work this queue too. Raises ConfigurationError for one that is worked already."""
        _check_queue(name)
        if name in self._queues:
            raise ConfigurationError(f"queue {name}: it is worked already; remove it first")
        self._queues[name] = config
        if self._crew is not None and self._runtime is not None:
            feed = self._feeds[name] = self._feed(self._runtime, name)
            self._crew.add(feed)

    def remove_queue(self, name: str) -> None:
        """Claim no more from this queue; what runs goes on. ConfigurationError for others."""
        if self._queues.pop(name, None) is None:
            raise ConfigurationError(f"queue {name}: it is not worked here")
        if self._crew is not None:
            self._crew.remove(self._feeds[name])

    def checks(self) -> dict[str, str | None]:
        """Each part by its progress; None is well."""
        return {"pool": "not started"} if self._crew is None else self._crew.checks()

    def _end(self, soft: float | None, timeout: float | None) -> bool:
        crew, runtime = self._crew, self._runtime
        if crew is None or runtime is None:
            self._stop.set()
            return True
        log.info(
            "stopping; what runs has %s to finish",
            "all the time it takes" if soft is None else f"{soft:g} s",
        )
        crew.stop_claiming()
        left = crew.join_lanes(soft)
        if left:
            for executor in self._executors():
                executor.interrupt()
            left = crew.join_lanes(timeout)
        self._stop.set()
        left = crew.end([*left, *self._rest.join(10.0)])
        if left:
            log.warning("did not end in time: %s", ", ".join(left))
        self._crew = self._runtime = None
        self.events.close()
        return runtime.stop(5.0) and not left

    def _feed(self, runtime: Runtime, name: str) -> Feed:
        executor = Executor(
            self._workers,
            runtime,
            self._queues[name],
            timeout=self.options.job_timeout,
            error_handler=self._error_handler,
            events=self.events,
            client=self._client,
        )
        kinds: tuple[str, ...] = ("%",)
        if self.options.unknown == "leave":
            kinds = tuple(to_like(kind) for kind in executor.kinds())
        return Feed(
            name=name,
            queue=name,
            taker=executor,
            retry=self.options.retry,
            kinds=kinds,
            timely=True,
            next_retry=self._lost(runtime).delay,
        )

    def _lost(self, runtime: Runtime) -> LostJobs:
        return LostJobs(
            self._workers,
            timeout=self.options.job_timeout,
            retry=self.options.retry,
            loop=runtime.loop,
            client=self._client,
        )

    def _executors(self) -> list[Executor]:
        takers = [feed.taker for feed in list(self._feeds.values())]
        return [taker for taker in takers if isinstance(taker, Executor)]

    def _leader(self, connect: Connect, runtime: Runtime) -> Leader:
        keep, schema = self.options.retention, self.options.schema
        cleaner = Cleaner(
            completed=keep.completed,
            cancelled=keep.cancelled,
            discarded=keep.discarded,
            schema=schema,
        )
        duties: list[Duty] = [Scheduler(schema=schema), cleaner, QueueCleaner(schema=schema)]
        duties += [self._rescuer(runtime), Historian(schema=schema)]
        if self.options.reindex:
            reindexer = Reindexer(connect, schedule=self.options.reindex_schedule, schema=schema)
            duties.append(reindexer)
        if self._periodic is not None:
            duties.append(enqueuer(self._periodic, schema=schema))
        return Leader(connect, client_id=self.client_id, schema=schema, duties=duties)

    def _rescuer(self, runtime: Runtime) -> Rescuer:
        """For what other clients of River left behind; the keeper sees to our own processes."""
        lost = self._lost(runtime)
        return Rescuer(
            kinds=self._workers.kinds(),
            retry=lost.delay,
            timeout=lost.timeout,
            after=self.options.rescue_after,
            schema=self.options.schema,
        )

    def _listen(self, crew: Crew, leader: Leader | None) -> None:
        options = self.options
        direct = options.listen_dsn or (None if options.pooler else self._dsn)
        if options.poll_only or direct is None:
            return
        crew.listen(
            connector(direct, application_name=f"{self.client_id} listener"),
            leadership=None if leader is None else leader.notify,
            control=self._obey,
        )

    def _obey(self, order: Control) -> None:
        """An order from another client; pause and resume are obeyed by the lanes already."""
        if order.action == "cancel":
            for executor in self._executors():
                executor.cancel(order.job_id)
        elif order.action in ("pause", "resume"):
            paused = order.action == "pause"
            kind = EventKind.QUEUE_PAUSED if paused else EventKind.QUEUE_RESUMED
            for name in list(self._queues) if order.queue == "*" else [order.queue]:
                if name in self._queues:
                    self.events.publish(Event(kind, queue=name))

    def _unstick(self, stop: threading.Event) -> None:
        while not stop.wait(UNSTICK):
            if self._crew is not None:
                self._crew.unstick()


def _check_queue(name: str) -> None:
    problem = queue_problem(name)
    if problem is not None:
        raise ConfigurationError(f"queue {name!r}: {problem}")
