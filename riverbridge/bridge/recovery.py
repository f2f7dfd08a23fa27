"""Brings parked jobs forward once the sink that they wait for takes messages again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import psycopg

from riverbridge.bridge.outlet import Outlet
from riverbridge.store.database import Connect, Connection, cut, open_connection, transaction
from riverbridge.store.parking import ParkingTable

log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks."""

AGAIN = 0.05
"""Seconds until the next look after something was brought forward; it doubles up to `LOOK`."""

BATCH = 250
"""Jobs brought forward at once, and the next only when these are claimed: new jobs wait behind no
more than that."""

SETTLED = 15.0
"""Seconds after a job was parked by which its row shows it, and it may be brought forward."""


class Lot:
    """The jobs of one route that are parked for one sink."""

    def __init__(
        self,
        outlet: Outlet,
        queues: Callable[[], Sequence[str]],
        sent: Callable[[], Sequence[int]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """queues: where such jobs may be. sent: jobs whose answer is still out. clock: that of the
        outlet's `parked_at`.
        """
        self._outlet = outlet
        self._queues = queues
        self._sent = sent
        self._clock = clock
        self._before: list[int] = []
        self._brought = 0
        self._none_at = float("-inf")
        """When it last found that none was left. At the start there may be those of a process
        before this one."""

    def room(self) -> int:
        """How many may be brought forward now: one while the sink is probed."""
        # The sink may have been closed for long since the last one was parked.
        if self._outlet.parked_at + SETTLED >= self._none_at:
            return self._outlet.room()
        return 0

    def bring_forward(self, connection: Connection, table: ParkingTable, limit: int) -> list[str]:
        """Bring up to `limit` jobs forward; returns their queues."""
        with transaction(connection, idle=5.0, total=15.0, statement=5.0):
            done = table.unpark(
                connection,
                sink=self._outlet.name,
                queues=self._queues(),
                before=self._before,
                sent=self._sent(),
                limit=limit,
            )
        if done.held_back:
            return []
        self._before = done.ids
        if not done.ids:
            self._none_at = self._clock()
        self._brought += len(done.ids)
        if self._brought and not done.ids:
            log.info("brought %d jobs forward for sink %s", self._brought, self._outlet.name)
            self._brought = 0
        return done.queues


class Recovery:
    """One thread; it has a connection only while there may be jobs to bring forward."""

    def __init__(
        self,
        lots: Sequence[Lot],
        *,
        connect: Connect,
        schema: str | None,
        woken: Callable[[str], None],
    ) -> None:
        """woken: told of each queue that has jobs to claim now."""
        self._lots = list(lots)
        self._connect = connect
        self._table = ParkingTable(schema)
        self._woken = woken
        self._connection: Connection | None = None
        self.progress = time.monotonic()
        """When it last went round (time.monotonic)."""

    def run(self, stop: threading.Event) -> None:
        """Look again and again until `stop`."""
        while not stop.wait(LOOK):
            self.progress = time.monotonic()
            if not any(lot.room() for lot in self._lots):
                continue
            connection = open_connection(self._connect, stop)
            if connection is None:
                return
            self._connection = connection
            try:
                with connection:
                    self._bring_forward(connection, stop)
            except psycopg.Error as error:
                log.warning("could not bring parked jobs forward, trying again: %s", error)

    def unstick(self) -> None:
        """End the connection under a loop that makes no progress: its server may hang."""
        if self._connection is not None and not self._connection.closed:
            cut(self._connection)

    def _bring_forward(self, connection: Connection, stop: threading.Event) -> None:
        """One batch for each sink in turn, while one has room and may have jobs that wait."""
        rest = LOOK
        while any(lot.room() for lot in self._lots) and not stop.is_set():
            rest = min(LOOK, 2 * rest)
            for lot in self._lots:
                self.progress = time.monotonic()
                if room := lot.room():
                    for queue in lot.bring_forward(connection, self._table, min(BATCH, room)):
                        self._woken(queue)
                        rest = AGAIN
            stop.wait(rest)
