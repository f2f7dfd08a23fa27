"""The jobs of a database as they come, for those who watch: one look at the tables for all of them.

One thread with one connection of its own listens to River's announcements and looks for new ids, at
the latest twice a second: where nobody announces, and behind a pooler, that is all there is. An id
that was passed over, because its transaction was still open, is found when it is committed.
Everybody who watches is told the ids, and asks for those jobs with a filter of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from riverbridge.engine.missing import Missing
from riverbridge.sql import statement
from riverbridge.store.database import Connection

log = logging.getLogger(__name__)

WATCHERS_MAX = 16
"""Who may watch one database at once; each holds a connection to the console."""

PENDING_MAX = 500
"""Ids that are kept for a watcher who does not keep up; the oldest are passed over."""

LOOK = 0.5
"""Seconds between two looks where nothing is announced."""

PAUSE = 0.1
"""Seconds between two looks however much is announced."""

AT_ONCE = 5000

PATIENCE = 5.0
"""Seconds until a lost connection is opened again."""

STATEMENT_LIMIT_MS = 2000


class Watcher:
    """One who watches; belongs to an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[int] = []
        self._skipped = 0
        self._told = asyncio.Event()

    async def next(self, timeout: float) -> tuple[list[int], int]:
        """The ids that came since the last call, and how many were passed over before them.

        Waits for the first for `timeout` seconds; nothing then. The first call of all returns once
        jobs are looked for, so that none is missed that comes after it.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), timeout)
        self._told.clear()
        ids, skipped = self._pending, self._skipped
        self._pending, self._skipped = [], 0
        return ids, skipped

    def tell(self, ids: list[int]) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._take, ids)

    def _take(self, ids: list[int]) -> None:
        self._pending += ids
        if (over := len(self._pending) - PENDING_MAX) > 0:
            self._skipped += over
            del self._pending[:over]
        self._told.set()


class Arrivals:
    """Looks at one database for as long as somebody watches it."""

    def __init__(self, connect: Callable[[], Connection], schema: str | None) -> None:
        self._connect = connect
        self._schema = schema
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._looking = False
        self._ready = False
        """It is known which jobs were there before: those that come from now on are told."""

    @contextmanager
    def watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[Watcher | None]:
        """Watch until the block ends; None if there are too many who do."""
        watcher = Watcher(loop)
        with self._lock:
            if len(self._watchers) >= WATCHERS_MAX:
                free = False
            else:
                free = True
                self._watchers.add(watcher)
                if self._ready:
                    watcher.tell([])
                if not self._looking:
                    self._looking = True
                    threading.Thread(target=self._run, name="arrivals", daemon=True).start()
        try:
            yield watcher if free else None
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _wanted(self) -> bool:
        """Whether anybody watches; if not, the thread ends, and this is where that is decided."""
        with self._lock:
            if not self._watchers:
                self._looking = self._ready = False
            return self._looking

    def _run(self) -> None:
        newest: int | None = None
        while self._wanted():
            try:
                with self._connect() as connection:
                    look = _Look(connection, self._schema, newest)
                    self._begin()
                    while self._wanted():
                        self._tell(look.wait())
                        newest = look.newest
            except psycopg.Error as error:
                log.warning("cannot look for new jobs just now: %s", str(error).strip())
                self._rest()
            except Exception:
                log.exception("looking for new jobs failed")
                self._rest()

    def _begin(self) -> None:
        with self._lock:
            self._ready = True
            for watcher in self._watchers:
                watcher.tell([])

    def _rest(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._watchers:
            time.sleep(LOOK)

    def _tell(self, ids: list[int]) -> None:
        if ids:
            with self._lock:
                for watcher in self._watchers:
                    watcher.tell(ids)


class _Look:
    """A connection that listens, and what it has seen."""

    def __init__(self, connection: Connection, schema: str | None, newest: int | None) -> None:
        self._connection = connection
        self._schema = schema
        self._missing = Missing()
        self._looked = 0.0
        connection.execute(b"SET statement_timeout = %d" % STATEMENT_LIMIT_MS)
        row = connection.execute("SELECT current_schema()").fetchone()
        self._place = schema or (row[0] if row else None) or ""
        channel = f"{self._place}.river_insert" if self._place else "river_insert"
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self.newest = self._newest() if newest is None else newest

    def wait(self) -> list[int]:
        """The ids that have come, at once if something is announced, else within LOOK seconds."""
        for _ in self._connection.notifies(timeout=LOOK, stop_after=1):
            pass
        # What was announced meanwhile is in the same look.
        time.sleep(max(0.0, self._looked + PAUSE - time.monotonic()))
        self._looked = time.monotonic()
        late = self._late()
        return late + self._new()

    def _new(self) -> list[int]:
        ids = self._ids("job/newer", after_id=self.newest, limit=AT_ONCE)
        if len(ids) == AT_ONCE:  # more than anybody can read
            newest = self._newest()
            log.debug("passed over jobs up to %d", newest)
            self.newest = max(newest, ids[-1])
            return ids
        for id_ in ids:
            if id_ > self.newest + 1:
                self._missing.add(self.newest + 1, id_ - 1)
            self.newest = id_
        return ids

    def _late(self) -> list[int]:
        if not self._missing:
            return []
        writers = self._connection.execute(
            statement("order/writers", self._schema), {"schema": self._place or None}
        )
        self._missing.writing(frozenset(name for (name,) in writers.fetchall()))
        ranges = self._missing.ranges()
        found = self._ids(
            "job/appeared",
            lows=[low for low, _ in ranges],
            highs=[high for _, high in ranges],
            limit=AT_ONCE,
        )
        if len(found) == AT_ONCE:
            self._missing.appeared(found)
        else:
            self._missing.looked(found)
        return found

    def _newest(self) -> int:
        [newest] = self._ids("job/newest_id")
        return newest

    def _ids(self, name: str, **values: object) -> list[int]:
        rows = self._connection.execute(
            statement(name, self._schema), values or None, prepare=False
        ).fetchall()
        return [id_ for (id_,) in rows]
