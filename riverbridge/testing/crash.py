"""Ends what takes events in between any two of its steps, as a crash or a lost line would.

The points are those at which a process that turns events into jobs may die: between what its source
knows, what it knows itself, and what Postgres knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import psycopg

from riverbridge.sources.base import Bounds, Event, Positioned, Source
from riverbridge.store.database import Connect, Connection

Point = Literal[
    "received",
    "begun",
    "half written",
    "written",
    "committing",
    "committed",
    "acknowledged",
]
"""received: events came, and were not looked at. begun, half written, written: in the transaction,
before its first statement, before its last and behind it. committing: COMMIT was carried out, and
nobody heard of it. committed: and nobody told the source. acknowledged: the source was told."""

POINTS: tuple[Point, ...] = get_args(Point)


class Crashed(Exception):
    """What `crash` raises, unless told otherwise."""


def crash() -> None:
    """Fail at this point, so that the loop ends."""
    raise Crashed


def lose_line() -> None:
    """Have the connection to Postgres lost at this point."""
    raise psycopg.OperationalError("the line was cut by the test")


class Trap:
    """Does `action` once, when `point` is reached for the `nth` time with events in hand."""

    def __init__(self, point: Point, nth: int = 2, action: Callable[[], None] = crash) -> None:
        self.point = point
        self.sprung = False
        self._left = nth
        self._action = action

    def reach(self, point: Point) -> None:
        """Say that `point` is reached."""
        if point != self.point or self.sprung:
            return
        self._left -= 1
        if not self._left:
            self.sprung = True
            self._action()

    def connect(self, dsn: str) -> Connect:
        """Opens connections that pass the points of a transaction that inserts jobs."""

        def connect() -> Connection:
            connection = _Watched.connect(dsn, autocommit=True)
            connection.trap = self
            return connection

        return connect

    def around(self, source: Source) -> Source:
        """`source`, passing the points before and after it is told."""
        return (
            _PositionedBetween(source, self)
            if isinstance(source, Positioned)
            else _Between(source, self)
        )


class _Watched(psycopg.Connection[tuple[Any, ...]]):
    trap: Trap
    _depositing = False

    def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        text = bytes(query) if isinstance(query, bytes) else b""
        try:
            if b"INSERT INTO river_job" in text:
                self._depositing = True
                self.trap.reach("half written")
            if b"UPDATE river" not in text and text.startswith(b"BEGIN"):
                found = super().execute(query, *args, **options)
                self.trap.reach("begun")
                return found
            if not text.startswith(b"COMMIT") or not self._depositing:
                return super().execute(query, *args, **options)
            self._depositing = False
            self.trap.reach("written")
            found = super().execute(query, *args, **options)
            self.trap.reach("committing")
        except psycopg.OperationalError:
            self.close()
            raise
        return found


class _Between:
    def __init__(self, source: Source, trap: Trap) -> None:
        self._source = source
        self._trap = trap

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        events = self._source.receive(bounds)
        if events:
            self._trap.reach("received")
        return events

    def acknowledge(self, events: Sequence[Event]) -> None:
        self._trap.reach("committed")
        self._source.acknowledge(events)
        self._trap.reach("acknowledged")

    def release(self, events: Sequence[Event]) -> None:
        self._source.release(events)

    def idle(self, seconds: float) -> None:
        self._source.idle(seconds)

    def problem(self) -> str | None:
        return self._source.problem()

    def close(self) -> None:
        self._source.close()


class _PositionedBetween(_Between):
    _source: Positioned

    def unplaced(self) -> Sequence[str]:
        return self._source.unplaced()

    def starts(self, partitions: Sequence[str], known: Any) -> Any:
        return self._source.starts(partitions, known)

    def place(self, positions: Any) -> None:
        self._source.place(positions)
