"""A database as the console uses it: a few connections, a time limit on everything."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TypeVar

import psycopg

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.console.frame import Refused
from riverbridge.sql import statement
from riverbridge.store.database import Connect, Connection
from riverbridge.store.exchange import Exchange, carry_out
from riverbridge.store.limits import bounded_transaction, limit_lock_waits

T = TypeVar("T")

CONNECTIONS = 4
"""The most that one console has open to one database."""

PATIENCE = 3.0
"""Seconds that a request waits for a connection that others have in use."""

LOCK_WAIT = 3.0
"""Seconds that a change waits for a row that somebody has in work."""

COLOURS = ("grey", "red", "orange", "amber", "green", "teal", "blue", "violet")


class Database:
    """One database with River's tables. name: as in its URLs. label, colour: as it is shown."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        schema: str | None = None,
        label: str | None = None,
        colour: str = "grey",
        read_only: bool = False,
    ) -> None:
        """Nothing is connected yet. colour: one of COLOURS."""
        if colour not in COLOURS:
            raise ValueError(f"{colour!r} is no colour of the console: use {', '.join(COLOURS)}")
        self.name = name
        self.schema = schema
        self.label = label or name
        self.colour = colour
        self.read_only = read_only
        self._connect = connect
        self._idle: list[Connection] = []
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._closed = False

    def read(self, exchange: Exchange[T], *, seconds: float = 5.0) -> T:
        """Run a question; no statement takes longer than `seconds`, and none can write.

        Raises what psycopg raises, and Refused if all connections stay in use.
        """
        with self._transaction(seconds) as connection:
            connection.execute(statement("transaction/read_only"))
            return carry_out(exchange, lambda query: send(connection, query))

    def change(self, exchange: Exchange[T], *, seconds: float = 10.0) -> T:
        """Run a change, all or nothing. Raises as `read` does."""
        with self._transaction(seconds) as connection:
            limit_lock_waits(connection, LOCK_WAIT)
            return carry_out(exchange, lambda query: send(connection, query))

    def open(self) -> Connection:
        """A connection of the caller's own, beside those of requests."""
        return self._connect()

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it is given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextlib.contextmanager
    def _transaction(self, seconds: float) -> Iterator[Connection]:
        with self.connection() as connection, bounded_transaction(connection, seconds):
            connection.execute(statement("transaction/interactive"))
            yield connection

    @contextlib.contextmanager
    def connection(self, *, read_only: bool = False) -> Iterator[Connection]:
        """One of them, for what makes its own transactions, and bounds them. Raises Refused."""
        if not self._places.acquire(timeout=PATIENCE):
            raise Refused(503, f"{self.label} is busy with other questions: try again")
        try:
            connection = self._taken()
            connection.read_only = read_only or None
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._places.release()

    def _taken(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            try:
                connection.execute(b"")  # one that the server has closed meanwhile is not used
            except psycopg.Error:
                connection.close()
            else:
                return connection
        return self._connect()

    def _give_back(self, connection: Connection) -> None:
        idle = connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        if idle and not connection.closed and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
