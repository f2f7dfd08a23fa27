"""The bridge, running: threads started, supervised and ended in order.

Threads: lanes, keeper, listener, leader, recovery, sources, HTTP. Each lane and each source has a
connection, and so have keeper, listener and leader: at most lanes + sources + 3, and one more while
parked jobs are brought forward.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from riverbridge.bridge.figures import INTERVAL, Recording
from riverbridge.bridge.intake import Receiver
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.pausing import Pausing
from riverbridge.bridge.recovery import Lot, Recovery
from riverbridge.console.known import KNOWN
from riverbridge.engine.batch import Feed
from riverbridge.engine.crew import STUCK, Crew, Manning, stalled
from riverbridge.engine.followed import MOST
from riverbridge.engine.identity import VERSION, client_id, crashed_before, process_table
from riverbridge.engine.lane import Limits
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.service.knowing import make_known, sinks_now, sources_now
from riverbridge.service.plan import Plan
from riverbridge.service.process import tune
from riverbridge.service.receiving import make_doors, make_receivers
from riverbridge.service.samples import check_samples
from riverbridge.service.serving import Front
from riverbridge.service.wiring import (
    Opened,
    kept,
    make_lots,
    make_outlets,
    make_routes,
    make_slots,
    open_sinks,
    serve_metrics,
    source_name,
)
from riverbridge.settings import Settings
from riverbridge.sinks.base import Sink
from riverbridge.store.database import connector, first_connection
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable
from riverbridge.store.schema_check import check_schema
from riverbridge.store.upkeep import Pruned
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.historian import Historian
from riverbridge.upkeep.leader import Leader
from riverbridge.upkeep.scheduler import Scheduler
from riverbridge.upkeep.table_cleaner import TableCleaner

log = logging.getLogger(__name__)


INTAKE = 10.0
"""Seconds that sources may take to commit what they received, and to take their leave."""
CLOSE = 0.5
"""Seconds that closing the sinks may take."""


class Stopped(Exception):
    """Asked to stop while still waiting for the database."""


class Bridge:
    """The bridge, running. Construct, `start`, and in the end `stop`."""

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event | None = None,
        sinks: Mapping[str, Sink] | None = None,
    ) -> None:
        """Checks the database and wires everything; starts the probes and nothing else.

        Waits for a database that is not up yet, until `stop`: alive, but not ready. sinks: used
        instead of those the settings describe, by the same names. Raises ConfigurationError for
        settings, tables (SchemaError) and a database that refuses this role.
        """
        _need_work(settings)
        assert settings.database_url is not None  # the caller loaded them so
        self.version = VERSION
        self.settings = settings
        self.client_id = client_id(settings.name)
        self._outlets: dict[str, Outlet] = {}
        self._receivers: dict[str, Receiver] = {}
        self._pausing: Pausing | None = None
        self._connect = connector(
            settings.database_url.get_secret_value(),
            application_name=self.client_id,
            pooler=settings.pooler,
        )
        processes = process_table(settings.db_schema, self.client_id)
        self._asked_to_stop = stop or threading.Event()
        self._doors = make_doors(settings)
        with self._probing():
            crashed = self._survey(processes, sinks, self._asked_to_stop)
        self._pausing = Pausing(self.routes, self._outlets, settings.db_schema)
        self._crew = self._make_crew(processes, crashed)
        if self._outlets:  # a process with sources alone has nothing to pause
            self._crew.obey(self._pausing.read)
            figures = {name: outlet.figures for name, outlet in self._outlets.items()}
            recording = Recording(figures, settings.db_schema)
            self._crew.also(INTERVAL, "record what sinks did", recording.write)
        self._leader = self._make_leader() if settings.elections else None
        lots = make_lots(settings, self.routes, self._crew.queues)
        self._recovery = self._make_recovery(lots) if lots else None
        opening = {name: door.source.open for name, door in self._doors.items()}
        self._receivers = make_receivers(settings, self._connect, opening)
        self._intake_stop = threading.Event()
        self._intake_threads = Supervisor(self._intake_stop)
        self._listen()
        self._wired = True

    def _survey(
        self,
        processes: ProcessTable,
        sinks: Mapping[str, Sink] | None,
        stop: threading.Event,
    ) -> list[str]:
        """Look at the database and make what depends on it; returns the records of the dead."""
        settings = self.settings
        connection = first_connection(self._connect, stop)
        if connection is None:
            raise Stopped
        with connection:
            check_schema(connection, settings.db_schema)
            crashed = crashed_before(connection, processes, 2 * settings.batch_size)
            if sinks is None:
                opened = open_sinks(settings)
            else:
                opened = {name: Opened(sink) for name, sink in sinks.items()}
            self._outlets = make_outlets(settings, opened)
            self._slots = make_slots(settings, self._outlets, self.client_id)
            self.routes = make_routes(settings, self._outlets, source_name(connection, settings))
            plan = self._plan = Plan(
                settings,
                self.routes,
                lambda route: processes.first_start(connection, route),
                self._slots,
            )
            self._served = {queue: plan.feeds(queue) for queue in plan.named}
            # Those that wait now are served from the start, as what crashed before was one of them.
            waiting = QueueTable(settings.db_schema).waiting(connection) if plan.follows else []
            self._followed = plan.followed(waiting[:MOST])
            check_samples(connection, settings.db_schema, plan, self.routes)
        return crashed

    @contextlib.contextmanager
    def _probing(self) -> Iterator[None]:
        """Answer the probes from here on: a process that waits for its database is alive."""
        self._wired = False
        known = make_known(
            self.settings,
            lambda: sinks_now(self._outlets),
            lambda: sources_now(self._receivers),
        )
        self._front = Front(
            self.settings,
            self,
            with_console=self.settings.http.console,
            doors=self._doors,
            extra={KNOWN: known},
        )
        self.ports = self._front.ports
        self.port = self.ports["probes"]
        self._rest_stop = threading.Event()
        self._rest_threads = Supervisor(self._rest_stop)
        self._front.start(self._rest_threads)
        try:
            yield
        except BaseException:
            self._rest_stop.set()
            self._rest_threads.join(5.0)
            self._front.close()
            raise

    def _make_crew(self, processes: ProcessTable, crashed: list[str]) -> Crew:
        """The shared lanes, those of routes that have their own, and what goes with lanes."""
        settings = self.settings
        watches: list[tuple[int, list[Feed]]] = [(count, []) for count in self._plan.lanes]
        for places in (*self._served.values(), *self._followed.values()):
            for lanes, feed in places:
                watches[lanes][1].append(feed)
        limits = Limits(
            hold=settings.hold,
            deadline=settings.deadline,
            guarded=2 * settings.batch_size if crashed else 0,
        )
        crew = Crew(
            connect=self._connect,
            processes=processes,
            schema=settings.db_schema,
            # Lanes that can never have a feed are none.
            watches=[
                (count if feeds or self._plan.follows else 0, feeds) for count, feeds in watches
            ],
            manning=Manning(
                limits,
                batch_size=settings.batch_size,
                batch_bytes=settings.batch_bytes,
                poll=settings.poll_interval,
                grace=settings.grace,
            ),
            crashed=crashed,
            slots=list(self._slots.values()),
        )
        if self._plan.follows:
            crew.follow(self._plan.follow, self._followed)
        return crew

    def _make_leader(self) -> Leader:
        keep, schema = self.settings.retention, self.settings.db_schema
        cleaner = Cleaner(
            completed=kept(keep.completed),
            cancelled=kept(keep.cancelled),
            discarded=kept(keep.discarded),
            schema=schema,
        )
        duties: list[Duty] = [
            Scheduler(schema=schema),
            cleaner,
            TableCleaner("inbox", schema=schema),
            Historian(schema=schema),
        ]
        ours: dict[Pruned, float | None] = {
            "receipt": keep.receipts,
            "audit": keep.audit,
            "operation": keep.audit,
        }
        duties += [
            TableCleaner(table, keep=age, schema=schema)
            for table, seconds in ours.items()
            if (age := kept(seconds)) is not None
        ]
        return Leader(self._connect, client_id=self.client_id, schema=schema, duties=duties)

    def _make_recovery(self, lots: list[Lot]) -> Recovery:
        return Recovery(
            lots,
            connect=self._connect,
            schema=self.settings.db_schema,
            woken=self._crew.wake,
        )

    def _listen(self) -> None:
        settings = self.settings
        url = settings.listen_url
        if url is None:
            if settings.pooler or not settings.listen:
                log.info("polling every %.1f s, without LISTEN", settings.poll_interval)
                return
            url = settings.database_url
        assert url is not None
        self._crew.listen(
            connector(url.get_secret_value(), application_name=f"{self.client_id} listener"),
            leadership=None if self._leader is None else self._leader.notify,
        )

    def start(self) -> None:
        """Record this process, then start all threads."""
        self._crew.start(self._asked_to_stop)
        if self._leader is not None:
            self._rest_threads.start("leader", self._leader.run)
        if self._recovery is not None:
            self._rest_threads.start("recovery", self._recovery.run)
        for name, receiver in self._receivers.items():
            self._intake_threads.start(f"source-{name}", receiver.run)
        queues = sorted({*self._served, *self._followed, *self._plan.globs})
        log.info(
            "riverbridge %s serves %s as %s; %s",
            VERSION,
            ", ".join([*queues, *(f"source {name}" for name in self._receivers)]),
            self.client_id,
            ", ".join(
                f"{name} on port {self.ports[name]}"
                for name in ("probes", "hooks")
                if name in self.ports
            ),
        )
        if self._front.console_url is not None:
            log.info("the console is at %s", self._front.console_url)

    def unstick(self) -> None:
        """Cut the connections of what stands still: a server that hangs sends no error."""
        self._crew.unstick()
        if self._recovery and stalled(self._recovery.progress, STUCK):
            self._recovery.unstick()
        for receiver in self._receivers.values():
            receiver.unstick()

    def stop(self) -> None:
        """No new claims; settle what is out within the grace time; then end everything."""
        log.info("stopping; what is out has %.0f s to finish", self.settings.grace)
        self._intake_stop.set()
        self._crew.stop_claiming()
        left = self._crew.join_lanes()
        left += self._intake_threads.join(INTAKE)
        self._rest_stop.set()
        _close(self._outlets.values())
        left += self._rest_threads.join(10.0)
        self._front.close()
        if left := self._crew.end(left):
            log.warning("did not end in time: %s", ", ".join(left))
        log.info("stopped")

    def checks(self) -> dict[str, str | None]:
        """Readiness: each part by its progress (`riverbridge.console.probes.Health`)."""
        if not self._wired:
            return {"database": "waiting for its first answer"}
        found = self._crew.checks()
        if self._leader is not None:
            found["leader"] = stalled(self._leader.progress, 20.0)
        if self._recovery is not None:
            found["recovery"] = stalled(self._recovery.progress, STUCK)
        for name, receiver in self._receivers.items():
            found[f"source-{name}"] = receiver.problem() or stalled(receiver.progress, 15.0)
        for name, outlet in self._outlets.items():
            state = outlet.breaker.state
            well = state in ("closed", "paused")
            found[f"sink-{name}"] = None if well else f"breaker {state}"
        return found

    def notes(self) -> dict[str, str]:
        """What somebody has paused here, by the names of checks."""
        return {} if self._pausing is None else self._pausing.notes()


def run(settings: Settings, stop: threading.Event) -> None:
    """Run the bridge until `stop` is set. Raises ConfigurationError."""
    serve_metrics()
    try:
        bridge = Bridge(settings, stop)
    except Stopped:
        return
    tune()
    bridge.start()
    try:
        while not stop.wait(1.0):
            bridge.unstick()
    finally:
        bridge.stop()


def _need_work(settings: Settings) -> None:
    if not settings.sinks and not settings.sources:
        raise ConfigurationError(
            "RIVERBRIDGE_SINKS__<NAME>__TYPE: no sink is set, and no source; set at least one, as "
            "in RIVERBRIDGE_SINKS__EVENTS__TYPE=kafka"
        )


def _close(outlets: Iterable[Outlet]) -> None:
    """Close the sinks, all at once; nothing of theirs counts any more: none is waited for long."""
    closing = [
        threading.Thread(target=outlet.close, name=f"close-{outlet.name}", daemon=True)
        for outlet in outlets
    ]
    for thread in closing:
        thread.start()
    until = time.monotonic() + CLOSE
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))
