"""psycopg 3: connections and pools, synchronous and not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from riverbridge.client.adapters.base import (
    AsyncKind,
    AsyncRun,
    Kind,
    Run,
    closed,
    none_open,
    open_already,
)
from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query, Rows, carry_out
from riverbridge.store.limits import bounded_transaction

T = TypeVar("T")

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]


def send(connection: Connection, query: Query) -> Rows:
    """Send one query and return its rows."""
    sql = statement(query.name, query.schema)
    # A cursor of our own: the caller's may make dictionaries or bind on the client's side.
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(sql, query.parameters, binary=True)
        return cursor.fetchall() if cursor.description is not None else ()


def read(connection: Connection, exchange: Exchange[T], seconds: float) -> T:
    """Carry out what only reads, each statement in at most `seconds`, and write nothing by mistake.

    In a transaction of its own; `connection` is to be in autocommit mode and idle.
    """
    with bounded_transaction(connection, seconds):
        connection.execute(statement("transaction/read_only"))
        return carry_out(exchange, lambda query: send(connection, query))


async def send_async(connection: AsyncConnection, query: Query) -> Rows:
    """As `send`, awaited."""
    sql = statement(query.name, query.schema)
    async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(sql, query.parameters, binary=True)
        return await cursor.fetchall() if cursor.description is not None else ()


@contextmanager
def _begun(connection: Connection, statements: int) -> Iterator[Run]:
    _check_idle(connection)
    if statements == 1 and connection.autocommit:
        yield lambda query: send(connection, query)
    else:
        with connection.transaction():
            yield lambda query: send(connection, query)


@asynccontextmanager
async def _begun_async(connection: AsyncConnection, statements: int) -> AsyncIterator[AsyncRun]:
    _check_idle(connection)
    if statements == 1 and connection.autocommit:
        yield lambda query: send_async(connection, query)
    else:
        async with connection.transaction():
            yield lambda query: send_async(connection, query)


@contextmanager
def _begun_pool(pool: Any, statements: int) -> Iterator[Run]:
    with pool.connection() as connection, _begun(connection, statements) as run:
        yield run


@asynccontextmanager
async def _begun_async_pool(pool: Any, statements: int) -> AsyncIterator[AsyncRun]:
    async with pool.connection() as connection, _begun_async(connection, statements) as run:
        yield run


def _joined(connection: Connection) -> Run:
    _check_open(connection)
    return lambda query: send(connection, query)


async def _joined_async(connection: AsyncConnection) -> AsyncRun:
    _check_open(connection)
    return lambda query: send_async(connection, query)


def _check_idle(connection: Connection | AsyncConnection) -> None:
    if connection.closed:
        raise closed(connection)
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise open_already()


def _check_open(connection: Connection | AsyncConnection) -> None:
    if connection.closed:
        raise closed(connection)
    # Without autocommit the first statement opens one.
    if connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        raise none_open("with connection.transaction():")


KINDS: dict[str, Kind | AsyncKind] = {
    "Connection": Kind(_begun, _joined),
    "Cursor": Kind(joined=lambda cursor: _joined(cursor.connection)),
    "ConnectionPool": Kind(_begun_pool, many=True),
    "AsyncConnection": AsyncKind(_begun_async, _joined_async),
    "AsyncCursor": AsyncKind(joined=lambda cursor: _joined_async(cursor.connection)),
    "AsyncConnectionPool": AsyncKind(_begun_async_pool, many=True),
}
