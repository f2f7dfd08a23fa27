"""A connection of the client's own, to a DSN or from a function."""

from __future__ import annotations

import contextlib
import select
import threading
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.client.adapters.watch import Watch
from riverbridge.errors import ClientError
from riverbridge.store.database import Connect, Connection, transaction
from riverbridge.store.exchange import Exchange, carry_out

T = TypeVar("T")

STATEMENT_LIMIT = 10.0
"""Seconds for one statement."""

IDLE_LIMIT = 5.0
"""Seconds after which the server ends a transaction whose client has fallen silent."""


class OwnConnection:
    """One connection, opened at the first use; threads take turns.

    One that is found lost before anything is sent is opened anew. Later than that nothing is ever
    sent again.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = threading.Lock()
        self._watch = Watch(STATEMENT_LIMIT)

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation within the time limits, and commit."""
        with self._turn, contextlib.ExitStack() as stack:
            connection = self._connected()
            limit = STATEMENT_LIMIT * statements
            stack.enter_context(self._watch.over(connection, limit))
            if statements > 1:  # one is a transaction by itself, in a third of the round trips
                stack.enter_context(
                    transaction(connection, idle=IDLE_LIMIT, total=limit, statement=STATEMENT_LIMIT)
                )
            return carry_out(exchange, lambda query: send(connection, query))

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._turn:
            self._watch.close()
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is not None:
            if _is_fit(self._connection):
                return self._connection
            # Lost, or interrupted in the middle of a transaction: nothing of it may go on.
            self._drop()
        connection = self._connect()
        if not isinstance(connection, psycopg.Connection):
            raise ClientError(
                "connection: the function must open a psycopg connection, but what it returned is "
                f"of class {type(connection).__name__}"
            )
        if not connection.autocommit:
            connection.autocommit = True
        self._connection = connection
        return connection


def _is_fit(connection: Connection) -> bool:
    """Whether an idle connection is there still. What the server has said last is read."""
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        return False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    try:
        while waiting.poll(0):
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return True
