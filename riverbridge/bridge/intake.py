"""The loop of one source: receive, map, deposit, acknowledge.

Straight-line code in a thread of its own, with a connection of its own. Whatever goes wrong between
two steps leads to the same place: what was received is released, and comes again; positions are
read anew from where they were committed. What was committed after all is found to be so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from riverbridge import telemetry
from riverbridge.bridge.deposit import Deposited, Depositor, Moved
from riverbridge.bridge.mapping import Mapped, Mapper
from riverbridge.sources.base import Bounds, Event, Measured, NotNow, Positioned, Source
from riverbridge.store import ingest
from riverbridge.store.database import Connect, Connection, cut, open_connection, transaction
from riverbridge.store.queues import QueueTable

log = logging.getLogger(__name__)

STUCK = 45.0
"""Seconds without progress, longer than a transaction may last, after which a server hangs."""
BOUNDS = Bounds()
GLANCE = 0.2
"""Seconds between two looks at whether to stop."""
LOOK = 1.0
"""Seconds between two looks at how full the queue is."""
AT_ONCE = 8
"""Events whose bodies are fetched at once."""
REST = 0.2
LONGEST_REST = 5.0
"""Seconds of rest after a failure: doubles from the first to the longest."""


@dataclass(frozen=True)
class Intake:
    """How a source is read.

    remember: for how long the inbox keeps events; None where positions alone exclude repeats.
    pause_above: while more due jobs than this wait in the queue, nothing is taken in.
    """

    mapper: Mapper
    bounds: Bounds = BOUNDS
    remember: timedelta | None = None
    pause_above: int | None = None


class Receiver:
    """Runs one source until it is told to stop (`riverbridge.engine.supervisor`).

    progress: the monotonic time of the last step that went well.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], Source],
        intake: Intake,
        *,
        connect: Connect,
        schema: str | None = None,
    ) -> None:
        self.name = name
        self.progress = time.monotonic()
        self._open = open_source
        self._intake = intake
        self._connect = connect
        self._schema = schema
        self._queues = QueueTable(schema)
        self._depositor = Depositor(intake.mapper, remember=intake.remember, schema=schema)
        self._stop = threading.Event()
        self._source: Source | None = None
        self._at: dict[str, str] = {}
        self._failure: str | None = None
        self._looked = float("-inf")
        self._full = False
        self._seen: set[str] = set()
        self._connection: Connection | None = None

    def problem(self) -> str | None:
        """What keeps events from becoming jobs, or None. May be asked from any thread."""
        source = self._source
        return self._failure or (None if source is None else source.problem())

    def lag(self) -> int | None:
        """How far its source is behind (`riverbridge.sources.base.Measured`), or None."""
        source = self._source
        return source.lag() if isinstance(source, Measured) else None

    def unstick(self) -> None:
        """Cut the connection of a server that hangs, which sends no error."""
        connection = self._connection
        if connection is not None and time.monotonic() - self.progress > STUCK:
            cut(connection)

    def run(self, stop: threading.Event) -> None:
        """Take events in until `stop`; what was received by then is committed and acknowledged."""
        self._stop = stop
        self._at.clear()
        self._source = source = self._open()
        try:
            rest = REST
            while not stop.is_set():
                connection = open_connection(self._connect, stop, sleep=self._idle)
                if connection is None:
                    return
                with connection:
                    before = self.progress
                    self._connection = connection
                    self._serve(connection, source)
                    self._connection = None
                # A failure that follows upon success is not a lasting one.
                rest = REST if self.progress > before else min(2 * rest, LONGEST_REST)
                if not stop.is_set():
                    self._idle(rest)
        finally:
            self._source = None
            source.close()

    def _serve(self, connection: Connection, source: Source) -> None:
        """Take events in until `stop`, or until the database fails, or who has a body of theirs."""
        try:
            while not self._stop.is_set():
                if isinstance(source, Positioned):
                    self._place(connection, source)
                if self._too_full(connection):
                    self._idle(GLANCE)
                elif events := source.receive(self._intake.bounds):
                    self._take(connection, source, events)
                self.progress = time.monotonic()
                self._failure = None
        except (psycopg.Error, NotNow) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, psycopg.Error):
                text = f"Postgres: {text}"
            level = logging.DEBUG if text == self._failure else logging.WARNING
            log.log(level, "source %s will try again: %s", self.name, text)
            self._failure = text

    def _take(self, connection: Connection, source: Source, events: Sequence[Event]) -> None:
        try:
            done = self._deposit(connection, events)
        except Moved:
            log.warning(
                "source %s: its position was moved by another, which goes before; "
                "reading on from there",
                self.name,
            )
            source.release(events)
        except BaseException:
            source.release(events)
            raise
        else:
            source.acknowledge(events)
            self._count(done)

    def _deposit(self, connection: Connection, events: Sequence[Event]) -> Deposited:
        batch = self._mapped(events)
        last = {e.position.partition: e.position.after for e in events if e.position is not None}
        steps = {partition: (self._at[partition], after) for partition, after in last.items()}
        done = self._depositor.write(connection, batch, steps)
        self._at |= last
        if self._intake.pause_above is not None:
            self._seen.update(one.job.queue for one in batch if one.job is not None)
        return done

    def _mapped(self, events: Sequence[Event]) -> list[Mapped]:
        mapper = self._intake.mapper
        if not mapper.fetches:
            return [one for event in events for one in mapper.map(event)]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            return [one for many in pool.map(mapper.map, events) for one in many]

    def _place(self, connection: Connection, source: Positioned) -> None:
        """Tell the source where its new partitions go on, and those whose events were released."""
        wanted = source.unplaced()
        if not wanted:
            return
        with transaction(connection, idle=5.0, total=30.0):
            stored = ingest.positions(connection, self.name, schema=self._schema)
        if missing := [partition for partition in wanted if partition not in stored]:
            starts = source.starts(missing, stored.keys())
            with transaction(connection, idle=5.0, total=30.0):
                ingest.begin(connection, self.name, starts, schema=self._schema)
                stored = ingest.positions(connection, self.name, schema=self._schema)
        found = {partition: stored[partition] for partition in wanted if partition in stored}
        self._at |= found
        source.place(found)

    def _too_full(self, connection: Connection) -> bool:
        """Whether the queues this source fills are fuller than they should be; looks at times."""
        limit = self._intake.pause_above
        now = time.monotonic()
        if limit is None or now - self._looked < LOOK:
            return self._full
        self._looked = now
        if (queue := self._intake.mapper.queue()) is not None:
            self._seen.add(queue)
        with transaction(connection, idle=5.0, total=30.0):
            full = any(
                self._queues.depth(connection, queue, limit + 1).jobs > limit
                for queue in sorted(self._seen)
            )
        if full != self._full:
            how = f"pauses: more than {limit} jobs wait" if full else "goes on"
            log.info("source %s %s", self.name, how)
        self._full = full
        return full

    def _idle(self, seconds: float) -> None:
        """Rest, but stay a member of a group, and look whether to stop."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            assert self._source is not None
            self._source.idle(min(left, GLANCE))

    def _count(self, done: Deposited) -> None:
        for outcome in done.__struct_fields__:
            if count := getattr(done, outcome):
                labels = {"source": self.name, "outcome": outcome}
                telemetry.taken_in.add(count, labels)
