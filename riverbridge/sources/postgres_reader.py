"""The messages of a slot as events, each with the position behind it.

The events of a transaction are counted, all of them, whether they are passed over or not: a restart
in its middle counts the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

import msgspec

from riverbridge.sources.base import Event, Position
from riverbridge.sources.postgres_output import (
    Begin,
    Change,
    Commit,
    Emitted,
    Relation,
    Truncate,
    decode,
)
from riverbridge.sources.postgres_position import Place, Timeline, spell
from riverbridge.sources.postgres_rows import Told, about


class Teller(Protocol):
    """Says what an event tells of the changes of one table; None is nothing."""

    def tell(self, change: Change, about: bytes) -> Told | None:
        """Of a row. about: members that all events of its transaction have."""
        ...

    def emptied(self, about: bytes) -> Told | None:
        """Of a TRUNCATE."""
        ...


class Reader:
    """Makes events of the messages from `place` on.

    open: a transaction is, so that nothing behind its events can be said to be done. reached: the
    end of the last transaction.
    """

    def __init__(
        self,
        partition: str,
        timeline: Timeline,
        place: Place,
        *,
        table: Callable[[Relation], Teller],
        prefixes: Collection[str],
    ) -> None:
        self.open = False
        self.reached = place.lsn
        self._partition, self._timeline, self._from = partition, timeline, place
        self._table, self._prefixes = table, frozenset(prefixes)
        self._tables: dict[int, Teller] = {}
        self._lsn, self._next, self._pass = 0, 0, 0
        self._at: datetime | None = None
        self._about = b""

    def read(self, data: bytes, events: list[Event]) -> int:
        """Add the events of one message to those before it; the bytes of their bodies.

        Raises Unread, and what looking up a type does.
        """
        message = decode(data)
        if isinstance(message, Change):
            return self._add(self._tables[message.relation].tell(message, self._about), events)
        if isinstance(message, Begin):
            self.open = True
            self._at, self._about = message.at, about(message)
            self._enter(message.lsn)
        elif isinstance(message, Commit):
            self.open, self.reached = False, message.end
            if events:  # nothing lies between the last of them and here
                after = self.position(Place(message.end, 0, self._timeline.number))
                events[-1] = msgspec.structs.replace(events[-1], position=after)
        elif isinstance(message, Relation):
            self._tables[message.id] = self._table(message)
        elif isinstance(message, Truncate):
            tables = [self._tables[number] for number in message.relations]
            return sum(self._add(table.emptied(self._about), events) for table in tables)
        elif isinstance(message, Emitted):
            return self._emitted(message, events)
        return 0

    def position(self, place: Place) -> Position:
        """Where reading goes on at `place`."""
        return Position(self._partition, str(place))

    def _emitted(self, message: Emitted, events: list[Event]) -> int:
        if not message.transactional:
            self._at = None
            self._enter(message.lsn)
        told = None
        if message.prefix in self._prefixes:
            told = Told(message.prefix, None, message.content)
        return self._add(told, events)

    def _enter(self, lsn: int) -> None:
        """What comes next lies at `lsn`."""
        self._lsn, self._next = lsn, 0
        self._pass = self._from.taken if lsn == self._from.lsn else 0

    def _add(self, told: Told | None, events: list[Event]) -> int:
        number, self._next = self._next, self._next + 1
        if told is None or number < self._pass:
            return 0
        name = f"{self._partition}@{self._timeline.of(self._lsn)}:{spell(self._lsn)}+{number}"
        after = Place(self._lsn, self._next, self._timeline.number)
        events.append(
            Event(
                told.id or name,
                told.body,
                told.topic,
                told.key,
                at=self._at,
                position=self.position(after),
            )
        )
        return len(told.body)
