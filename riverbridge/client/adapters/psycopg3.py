"""psycopg 3: connections and pools, synchronous and not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from riverbridge.client.adapters.base import AsyncRun, Run
from riverbridge.errors import ClientError
from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query, Rows, carry_out, carry_out_async

T = TypeVar("T")


def send(connection: psycopg.Connection[Any], query: Query) -> Rows:
    """Send one query on a connection that has a transaction open."""
    # A cursor of our own: the caller's may make dictionaries or bind on the client's side.
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(statement(query.name, query.schema), query.parameters, binary=True)
        return cursor.fetchall() if cursor.description is not None else ()


async def send_async(connection: psycopg.AsyncConnection[Any], query: Query) -> Rows:
    """As `send`, awaited."""
    async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(statement(query.name, query.schema), query.parameters, binary=True)
        return await cursor.fetchall() if cursor.description is not None else ()


class GivenConnection:
    """The caller's connection; it stays the caller's, and so do its time limits."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction and commit it."""
        with self._turn:
            _check_idle(self._connection.info.transaction_status)
            with self._connection.transaction():
                return carry_out(exchange, lambda query: send(self._connection, query))

    def close(self) -> None:
        """Nothing: the connection is the caller's."""


class AsyncGivenConnection:
    """As `GivenConnection`, awaited."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction and commit it."""
        async with self._turn:
            _check_idle(self._connection.info.transaction_status)
            async with self._connection.transaction():
                return await carry_out_async(
                    exchange, lambda query: send_async(self._connection, query)
                )

    async def close(self) -> None:
        """Nothing: the connection is the caller's."""


def joined(connection: psycopg.Connection[Any]) -> Run:
    """Runs queries in the transaction open on `connection`."""
    _check_open(connection)
    return lambda query: send(connection, query)


def joined_async(connection: psycopg.AsyncConnection[Any]) -> AsyncRun:
    """As `joined`, awaited."""
    _check_open(connection)
    return lambda query: send_async(connection, query)


def _check_idle(status: TransactionStatus) -> None:
    if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE):
        # A savepoint would do, but the job would vanish with a transaction never committed.
        raise ClientError(
            "the connection has a transaction open: use insert_tx to join it, or end it first"
        )


def _check_open(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    if idle and connection.autocommit:
        raise ClientError(
            "tx: no transaction is open and the connection is in autocommit: "
            "open one with `with connection.transaction():`, or use insert"
        )
