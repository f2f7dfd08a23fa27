"""The bridge, running: threads started, supervised and ended in order.

Threads: lanes, keeper, listener, leader, probes. Each lane has a connection, and so have keeper,
listener and leader: at most lanes + 3.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

from riverbridge.bridge.outlet import Outlet
from riverbridge.console.probes import Server, application
from riverbridge.engine.batch import Feed
from riverbridge.engine.keeper import Keeper
from riverbridge.engine.lane import Lane, Limits
from riverbridge.engine.listener import Listener
from riverbridge.engine.pace import Pace
from riverbridge.engine.settling import Aside
from riverbridge.engine.supervisor import Supervisor
from riverbridge.engine.waking import Waker
from riverbridge.errors import ConfigurationError
from riverbridge.service.wiring import make_feeds, make_routes, make_sink, source_name
from riverbridge.settings import Settings
from riverbridge.sinks.base import Sink
from riverbridge.store.database import Connection, connector, first_connection
from riverbridge.store.jobs import JobTable
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable
from riverbridge.store.schema_check import check_schema
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.leader import Leader
from riverbridge.upkeep.scheduler import Scheduler

log = logging.getLogger(__name__)

VERSION = importlib.metadata.version("riverbridge")


STUCK = 15.0
"""Seconds beyond the delivery deadline after which a lane's server counts as hung."""


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
        """Checks the database and wires everything; starts nothing.

        Waits for a database that is not up yet, until `stop`. sinks: used instead of those the
        settings describe, by the same names. Raises ConfigurationError for settings, tables
        (SchemaError) and a database that refuses this role.
        """
        if not settings.sinks:
            raise ConfigurationError(
                "RIVERBRIDGE_SINKS__<NAME>__TYPE: no sink is set; set at least one, as in "
                "RIVERBRIDGE_SINKS__EVENTS__TYPE=kafka"
            )
        assert settings.database_url is not None  # the caller loaded them so
        self.version = VERSION
        self.settings = settings
        schema = settings.db_schema
        dsn = settings.database_url.get_secret_value()
        self.client_id = _client_id(settings.name)
        connect = connector(dsn, application_name=self.client_id, pooler=settings.pooler)
        table = JobTable(schema, self.client_id)
        processes = ProcessTable(
            schema,
            id=self.client_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
        )
        connection = first_connection(connect, stop or threading.Event())
        if connection is None:
            raise Stopped
        with connection:
            check_schema(connection, schema)
            source = source_name(connection, settings)
            crashed = [
                record.id
                for record in processes.crashed(connection, 8.0)
                if record.silent or _gone(record.host, record.pid)
            ]
            if sinks is None:
                sinks = {name: make_sink(name, sink) for name, sink in settings.sinks.items()}
            self._outlets = {
                name: Outlet(name, sink, threads=settings.lanes + 2) for name, sink in sinks.items()
            }
            self.routes = make_routes(settings, self._outlets, source)
            self.feeds = make_feeds(
                settings, self.routes, lambda route: processes.first_start(connection, route)
            )
        if crashed:
            log.warning(
                "%d process(es) died without signing off; the first %d jobs of each queue and lane "
                "are served one at a time",
                len(crashed),
                2 * settings.batch_size,
            )
        self._lanes_stop = threading.Event()
        self._rest_stop = threading.Event()
        self._wakers: list[Waker] = []
        self._lanes = self._make_lanes(connect, table, guarded=bool(crashed))
        feeds = [feed for group in self.feeds.values() for feed in group]
        self._keeper = Keeper(
            connect=connect,
            jobs=table,
            processes=processes,
            queues=QueueTable(schema),
            feeds=feeds,
            wakers=self._wakers,
            aside=self._aside,
            crashed=crashed,
            guard_over=lambda: not any(lane.guarding for lane in self._lanes),
        )
        self._leader = None
        if settings.elections:
            keep = settings.retention
            self._leader = Leader(
                connect,
                client_id=self.client_id,
                schema=schema,
                duties=[
                    Scheduler(schema=schema),
                    Cleaner(
                        completed=_keep(keep.completed),
                        cancelled=_keep(keep.cancelled),
                        discarded=_keep(keep.discarded),
                        schema=schema,
                    ),
                ],
            )
        self._listener = self._make_listener(dsn)
        self._probes = Server(
            application(self), host=settings.probes.host, port=settings.probes.port
        )
        self.port = self._probes.port
        self._lane_threads = Supervisor(self._lanes_stop)
        self._rest_threads = Supervisor(self._rest_stop)

    def _make_lanes(
        self, connect: Callable[[], Connection], table: JobTable, *, guarded: bool
    ) -> list[Lane]:
        """The shared lanes, and those of routes that have their own."""
        settings = self.settings
        self._aside = Aside()
        limits = Limits(
            hold=settings.hold,
            deadline=settings.deadline,
            guarded=2 * settings.batch_size if guarded else 0,
        )
        groups: list[tuple[int, list[Feed]]] = [(settings.lanes, [])]
        for name, feeds in self.feeds.items():
            own = settings.routes[name].lanes
            if own is None:
                groups[0][1].extend(feeds)
            else:
                groups.append((own, feeds))
        lanes = []
        for count, feeds in groups:
            if not feeds:
                continue
            waker = Waker(feeds, poll=settings.poll_interval)
            self._wakers.append(waker)
            paces = {
                feed: Pace(
                    claiming=feed.claiming,
                    batch_size=settings.batch_size,
                    batch_bytes=settings.batch_bytes,
                    hold=settings.hold,
                )
                for feed in feeds
            }
            lanes += [
                Lane(
                    connect=connect,
                    table=table,
                    waker=waker,
                    paces=paces,
                    aside=self._aside,
                    limits=limits,
                    byte_budget=settings.batch_bytes,
                )
                for _ in range(count)
            ]
        return lanes

    def _make_listener(self, dsn: str) -> Listener | None:
        settings = self.settings
        if settings.listen_url is not None:
            dsn = settings.listen_url.get_secret_value()
        elif settings.pooler or not settings.listen:
            log.info("polling every %.1f s, without LISTEN", settings.poll_interval)
            return None
        return Listener(
            connect=connector(dsn, application_name=f"{self.client_id} listener"),
            schema=settings.db_schema,
            wakers=self._wakers,
            leadership=None if self._leader is None else self._leader.notify,
        )

    def start(self) -> None:
        """Start all threads."""
        self._rest_threads.start("keeper", self._keeper.run)
        if self._leader is not None:
            self._rest_threads.start("leader", self._leader.run)
        if self._listener is not None:
            self._rest_threads.start("listener", self._listener.run)
        self._rest_threads.start("probes", self._probes.run)
        grace = self.settings.grace
        for number, lane in enumerate(self._lanes, 1):
            self._lane_threads.start(f"lane-{number}", _serving(lane, grace))
        log.info(
            "riverbridge %s serves %s as %s; probes on port %d",
            VERSION,
            ", ".join(sorted({f.queue for group in self.feeds.values() for f in group})),
            self.client_id,
            self.port,
        )

    def unstick(self) -> None:
        """Cut the connections of lanes that stand still: a server that hangs sends no error."""
        for lane in self._lanes:
            if time.monotonic() - lane.progress > self.settings.deadline + STUCK:
                lane.unstick()

    def stop(self) -> None:
        """No new claims; settle what is out within the grace time; then end everything."""
        self._lanes_stop.set()
        for waker in self._wakers:
            waker.stop()
        # A lane may still hold rows for `hold`, and then drains its leases for the grace time.
        left = self._lane_threads.join(self.settings.grace + self.settings.hold + 5.0)
        for outlet in self._outlets.values():
            outlet.close()
        self._rest_stop.set()
        left += self._rest_threads.join(10.0)
        if left:
            log.warning("did not end in time: %s", ", ".join(left))
        else:
            self._keeper.sign_off()
        log.info("stopped")

    def checks(self) -> dict[str, str | None]:
        """Readiness: each part by its progress (`riverbridge.console.probes.Health`)."""
        patience = self.settings.deadline + 5.0
        found: dict[str, str | None] = {
            f"lane-{number}": _stalled(lane.progress, patience)
            for number, lane in enumerate(self._lanes, 1)
        }
        found["keeper"] = _stalled(self._keeper.progress, 10.0)
        if self._listener is not None:
            found["listener"] = _stalled(self._listener.progress, 10.0)
        if self._leader is not None:
            found["leader"] = _stalled(self._leader.progress, 20.0)
        for name, outlet in self._outlets.items():
            state = outlet.breaker.state
            found[f"sink-{name}"] = None if state == "closed" else f"breaker {state}"
        return found


def run(settings: Settings, stop: threading.Event) -> None:
    """Run the bridge until `stop` is set. Raises ConfigurationError."""
    with contextlib.suppress(Exception):
        metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    try:
        bridge = Bridge(settings, stop)
    except Stopped:
        return
    bridge.start()
    try:
        while not stop.wait(1.0):
            bridge.unstick()
    finally:
        bridge.stop()


def _serving(lane: Lane, grace: float) -> Callable[[threading.Event], None]:
    return lambda stop: lane.run(stop, grace)


def _stalled(progress: float, patience: float) -> str | None:
    silent = time.monotonic() - progress
    return None if silent <= patience else f"no progress for {silent:.0f} s"


def _keep(seconds: float | None) -> timedelta | None:
    return None if seconds is None or seconds < 0 else timedelta(seconds=seconds)


def _client_id(name: str | None) -> str:
    """Unique for each process and never used again, as River asks of client ids; ≤ 100 bytes."""
    host = (name or socket.gethostname()).replace(".", "_")[:60]
    return f"riverbridge_{host}_{int(time.time()):x}_{secrets.token_hex(4)}"


def _gone(host: str, pid: int) -> bool:
    """Whether a process of this host is known to be dead. In a container our own pid comes back."""
    if host != socket.gethostname():
        return False
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
