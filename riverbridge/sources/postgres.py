"""The changes of Postgres tables as a source. The position is ours; the slot follows it.

One replication slot is one partition, `<system identifier>/<slot>`. What is confirmed to the server
is what lies in `riverbridge_position`, never more, so the server still has all that is not a job.

Where the slot does not have what comes next, because it was dropped, made anew, advanced by another
or invalidated, or because the server is another or lost a part of its log, the source stands, and
its `problem` says what an operator can do. It never begins anew by itself.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import psycopg

from riverbridge import telemetry
from riverbridge.sources.base import Bounds, Event
from riverbridge.sources.postgres_checks import (
    check_place,
    check_slot,
    dropped,
    gap,
    strangers,
    unpublished,
)
from riverbridge.sources.postgres_json import Types
from riverbridge.sources.postgres_output import Relation
from riverbridge.sources.postgres_position import Place, Timeline
from riverbridge.sources.postgres_reader import Reader, Teller
from riverbridge.sources.postgres_rows import Table
from riverbridge.sources.postgres_server import NO_REPLICATION, Refused, Server, Wanted
from riverbridge.sources.postgres_stream import Stream
from riverbridge.store.dsn import connect_failure

log = logging.getLogger(__name__)

MARK = 10.0
RETRY = 30.0
_SECOND = 1.0
"""Seconds between two reports to the server, and between two looks at the WAL it keeps."""
_AGAIN = 2.0
"""Seconds until a server that fails, or a slot that another uses, is tried again."""

_FORBIDDEN = re.compile("to start wal ?sender", re.IGNORECASE)

OverWal = Literal["warn", "drop"]


class PostgresSource:
    """Reads a replication slot (`riverbridge.sources.base.Positioned`).

    name: of the source, for metrics and texts.
    url: of the database that has the tables; a direct connection, no pooler.
    max_wal: bytes of WAL that the server may keep for the slot; above them `on_max_wal` happens:
        it is said, or the slot is dropped, and with it what was not read.
    teller: what is told of the changes of a table.
    mark_after: seconds after which an idle source moves its position, so that no WAL is kept.
    retry_after: seconds after which a source that stands looks whether an operator has helped.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        wanted: Wanted,
        max_wal: int | None = None,
        on_max_wal: OverWal = "warn",
        teller: Callable[[Relation, Types], Teller] = Table,
        mark_after: float = MARK,
        retry_after: float = RETRY,
    ) -> None:
        self.name = name
        self._url, self._wanted = url, wanted
        self._max_wal, self._on_max_wal = max_wal, on_max_wal
        self._teller = teller
        self._server: Server | None = None
        self._line: Stream | None = None
        self._reader: Reader | None = None
        self._partition = ""
        self._timeline = Timeline(1)
        self._at = Place(0, 0, 1)
        self._held: bytes | None = None
        self._suspect: tuple[int, int] | None = None
        self._standing: str | None = None
        self._trouble: str | None = None
        self._over: str | None = None
        self._said: str | None = None
        self._mark_after, self._retry_after = mark_after, retry_after
        self._retry_at = self._looked = self._asked = 0.0
        self._marked = time.monotonic()

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        """The next changes; of a transaction that is larger than the bounds a part."""
        events: list[Event] = []
        line, reader = self._line, self._reader
        if line is None or reader is None:
            time.sleep(bounds.seconds)
            self._look()
            return events
        try:
            held, self._held = self._held, None
            data = held or line.receive(bounds.seconds)
            size = 0
            while data is not None:
                size += reader.read(data, events)
                if size >= bounds.size or len(events) >= bounds.count:
                    break
                data = line.receive(0)
        except psycopg.Error as error:
            self._failed(error)  # what came before it is good
        if events:
            self._marked = time.monotonic()
        elif self._reader is not None:
            events = self._mark(line.sent)
        self._look()
        return events

    def acknowledge(self, events: Sequence[Event]) -> None:
        """Have the server told, at most once a second, what it need not keep."""
        position = events[-1].position
        assert position is not None
        self._at = Place.parse(position.after)

    def release(self, events: Sequence[Event]) -> None:
        """Read the slot again, from where our table says."""
        self._leave()

    def idle(self, seconds: float) -> None:
        """Answer the server, and hold one message at most."""
        try:
            if self._line is None or self._reader is None or self._held is not None:
                time.sleep(seconds)
            else:
                self._held = self._line.receive(seconds)
        except psycopg.Error as error:
            self._failed(error)
        self._look()

    def problem(self) -> str | None:
        """Why no change can come, or that the server keeps too much for this source."""
        return self._standing or self._trouble or self._over

    def close(self) -> None:
        """Tell the server what is safe, and end both connections."""
        if self._line is not None and self._reader is not None:
            with contextlib.suppress(psycopg.Error):
                self._line.report(self._at.lsn)
        self._disconnect()

    def unplaced(self) -> Sequence[str]:
        """The slot, until it is read; nothing while its server cannot be asked."""
        if self._reader is not None or time.monotonic() < self._retry_at:
            return ()
        try:
            self._connect()
        except Refused as error:
            self._stand(str(error))
            return ()
        except psycopg.Error as error:
            self._failed(error)
            return ()
        return (self._partition,)

    def starts(self, partitions: Sequence[str], known: Collection[str]) -> Mapping[str, str]:
        """Where the slot begins, which is made if it is not there."""
        assert self._server is not None
        try:
            if known:
                raise Refused(strangers(self.name, self._partition, known))
            slot = self._server.slot(self._wanted.slot)
            if slot is None:
                self._server.create_slot(self._wanted.slot)
                slot = self._server.slot(self._wanted.slot)
            slot = check_slot(self.name, self._wanted.slot, slot, self._server.database())
        except Refused as error:
            self._stand(str(error))
            return {}
        except psycopg.Error as error:
            self._failed(error)
            return {}
        return {self._partition: str(Place(slot.confirmed, 0, self._timeline.number))}

    def place(self, positions: Mapping[str, str]) -> None:
        """Go on reading from there; or stand, where the server does not have that any more."""
        if self._partition not in positions:
            return
        try:
            self._go(Place.parse(positions[self._partition]))
        except psycopg.errors.ObjectInUse:
            self._retry_at = time.monotonic() + _AGAIN
            self._standing = self._trouble = None
            self._say("another process reads its slot; waits to take over", logging.INFO)
        except (Refused, ValueError) as error:
            self._leave()
            self._stand(str(error))
        except psycopg.Error as error:
            self._failed(error)

    def _connect(self) -> None:
        if self._server is None:
            self._server = Server(self._url, application_name=f"riverbridge {self.name}")
        self._server.prepare(self._wanted)
        if self._line is None:
            self._line = self._open_line()
            system, self._timeline = self._line.identify()
            self._partition = f"{system}/{self._wanted.slot}"

    def _open_line(self) -> Stream:
        try:
            return Stream(self._url, application_name=f"riverbridge {self.name} slot")
        except psycopg.OperationalError as error:
            if _FORBIDDEN.search(str(error)):  # libpq has no SQLSTATE of a refused connection
                raise Refused(NO_REPLICATION) from None
            raise

    def _go(self, place: Place) -> None:
        assert self._server is not None
        assert self._line is not None
        name, database = self._wanted.slot, self._server.database()
        slot = check_slot(self.name, name, self._server.slot(name), database)
        check_place(self.name, place, self._timeline, slot)
        self._line.start(name, [self._wanted.publication], place.lsn)
        # Only now nobody else moves it.
        slot = check_slot(self.name, name, self._server.slot(name), database)
        if slot.confirmed > place.lsn:
            again, self._suspect = self._suspect, (slot.confirmed, place.lsn)
            if again == self._suspect:
                raise Refused(gap(self.name, name, place, slot, self._timeline))
            # Perhaps another was at it until just now, and has moved our position too.
            self._leave()
            return
        self._at, self._held = place, None
        types = Types(self._server)
        self._reader = Reader(
            self._partition,
            self._timeline,
            place,
            table=lambda relation: self._teller(relation, types),
            prefixes=self._wanted.prefixes,
        )
        self._suspect = self._standing = self._trouble = None
        self._say(f"reads slot {name} from {place}", logging.INFO)

    def _mark(self, sent: int) -> list[Event]:
        """At times, where nothing came: an event that only moves the position."""
        assert self._reader is not None
        reached = max(sent, self._reader.reached)
        now = time.monotonic()
        if self._reader.open or reached <= self._at.lsn or now - self._marked < self._mark_after:
            return []
        self._marked = now
        place = Place(reached, 0, self._timeline.number)
        return [Event(str(place), None, position=self._reader.position(place), mark=True)]

    def _look(self) -> None:
        """Once a second: report, and see how much the server keeps."""
        now = time.monotonic()
        if now - self._looked < _SECOND:
            return
        self._looked = now
        try:
            if self._reader is not None and self._line is not None:
                self._line.report(self._at.lsn, ask=now - self._asked > self._mark_after)
                if now - self._asked > self._mark_after:
                    self._asked = now
            if self._server is not None:
                self._weigh(self._server)
        except psycopg.Error as error:
            self._failed(error)
        telemetry.source_stopped.set(int(self._standing is not None), {"source": self.name})

    def _weigh(self, server: Server) -> None:
        """Asking also finds that the server shuts down, which then waits for nobody but us."""
        slot = server.slot(self._wanted.slot)
        held = 0 if slot is None else slot.held
        telemetry.source_wal.set(held, {"source": self.name})
        if slot is None or self._max_wal is None or held <= self._max_wal:
            self._over = None
            return
        text = f"the server keeps {held} bytes of WAL for slot {self._wanted.slot}, above MAX_WAL"
        if self._over is None:
            log.error("source %s: %s", self.name, text)
        self._over = text
        if self._on_max_wal == "drop":
            self._drop(server)

    def _drop(self, server: Server) -> None:
        self._leave()
        self._retry_at = time.monotonic() + _AGAIN
        try:
            server.drop_slot(self._wanted.slot)
        except psycopg.errors.ObjectInUse:
            return  # until the server has noticed, or as another process reads it
        self._over = None
        self._stand(dropped(self.name, self._wanted.slot))

    def _leave(self) -> None:
        """Read no more; the slot is free for others."""
        line, self._line, self._reader = self._line, None, None
        if line is not None:
            line.close()

    def _disconnect(self) -> None:
        self._leave()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _failed(self, error: psycopg.Error) -> None:
        """Whatever happened to a connection: both are made anew."""
        self._disconnect()
        self._retry_at = time.monotonic() + _AGAIN
        text = connect_failure(error, self._url)
        if isinstance(error, psycopg.errors.UndefinedObject) and "publication" in text:
            self._stand(unpublished(text, self._wanted))
            return
        self._standing, self._trouble = None, f"Postgres: {text}"
        self._say(f"{self._trouble}; will try again", logging.WARNING)

    def _stand(self, text: str) -> None:
        """Read nothing, until an operator has helped."""
        self._standing, self._trouble = text, None
        self._retry_at = time.monotonic() + self._retry_after
        self._say(f"stands: {text}", logging.ERROR)

    def _say(self, text: str, level: int) -> None:
        if text != self._said:
            log.log(level, "source %s: %s", self.name, text)
        self._said = text
