"""A connection of the client's own, to a DSN or from a function."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TypeVar

from psycopg.pq import TransactionStatus

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.store.database import GONE, Connect, Connection, lost, transaction
from riverbridge.store.exchange import Exchange, carry_out
from riverbridge.store.limits import cut_after

T = TypeVar("T")

STATEMENT_LIMIT = 10.0
"""Seconds for one statement."""

IDLE_LIMIT = 5.0
"""Seconds after which the server ends a transaction whose client has fallen silent."""


class OwnConnection:
    """One connection, opened at the first use; threads take turns.

    One that turns out to be lost when a transaction is begun is opened again, once. Later than that
    nothing is ever sent again.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation within the time limits, and commit."""
        with self._turn, self._begun(STATEMENT_LIMIT * (1 + statements)) as connection:
            return carry_out(exchange, lambda query: send(connection, query))

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _begun(self, limit: float) -> Iterator[Connection]:
        """A transaction of at most `limit` seconds, committed at the end of the block."""
        try:
            stack, connection = self._begin(limit)
        except GONE:
            if self._connection is None or not lost(self._connection):
                raise
            # Only BEGIN was sent, on a connection that had died unnoticed.
            stack, connection = self._begin(limit)
        with stack:
            yield connection

    def _begin(self, limit: float) -> tuple[contextlib.ExitStack, Connection]:
        """Begin a transaction; leaving the stack commits it."""
        connection = self._connected()
        with contextlib.ExitStack() as stack:
            stack.enter_context(cut_after(connection, limit))
            stack.enter_context(
                transaction(connection, idle=IDLE_LIMIT, total=limit, statement=STATEMENT_LIMIT)
            )
            return stack.pop_all(), connection

    def _connected(self) -> Connection:
        if self._connection is not None:
            if self._connection.info.transaction_status is TransactionStatus.IDLE:
                return self._connection
            # Lost, or interrupted in the middle of a transaction: nothing of it may go on.
            self._drop()
        connection = self._connect()
        if not connection.autocommit:
            connection.autocommit = True
        self._connection = connection
        return connection
