"""SQLAlchemy 2: engines, connections and sessions, on psycopg, psycopg2 and asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy.exc import PendingRollbackError

from riverbridge.client.adapters.base import (
    AsyncKind,
    AsyncRun,
    Kind,
    Run,
    broken,
    closed,
    open_already,
)
from riverbridge.client.adapters.style import named, numbered
from riverbridge.errors import ClientError
from riverbridge.sql import statement
from riverbridge.store.exchange import Query, Rows

_DRIVERS = ("psycopg", "psycopg2", "asyncpg")


@contextmanager
def _begun_engine(engine: Any, statements: int) -> Iterator[Run]:
    with engine.begin() as connection:
        yield _joined(connection)


@asynccontextmanager
async def _begun_async_engine(engine: Any, statements: int) -> AsyncIterator[AsyncRun]:
    async with engine.begin() as connection:
        yield await _joined_async(connection)


@contextmanager
def _begun(connection: Any, statements: int) -> Iterator[Run]:
    _check_idle(connection)
    with connection.begin():
        yield _joined(connection)


@asynccontextmanager
async def _begun_async(connection: Any, statements: int) -> AsyncIterator[AsyncRun]:
    _check_idle(connection)
    async with connection.begin():
        yield await _joined_async(connection)


@contextmanager
def _begun_session(session: Any, statements: int) -> Iterator[Run]:
    if session.in_transaction():
        raise open_already()
    with session.begin():
        yield _joined_session(session)


@asynccontextmanager
async def _begun_async_session(session: Any, statements: int) -> AsyncIterator[AsyncRun]:
    if session.in_transaction():
        raise open_already()
    async with session.begin():
        yield await _joined_async_session(session)


def _joined(connection: Any) -> Run:
    """Runs queries in the connection's transaction; SQLAlchemy opens one if there is none."""
    _check(connection)

    def run(query: Query) -> Rows:
        result = connection.exec_driver_sql(*_worded(connection.dialect.driver, query))
        return [tuple(row) for row in result] if result.returns_rows else ()

    return run


async def _joined_async(connection: Any) -> AsyncRun:
    if connection.sync_connection is None:
        raise ClientError("the AsyncConnection is not started: use it in `async with`, or await it")
    _check(connection.sync_connection)

    async def run(query: Query) -> Rows:
        result = await connection.exec_driver_sql(*_worded(connection.dialect.driver, query))
        return [tuple(row) for row in result] if result.returns_rows else ()

    return run


def _joined_session(session: Any) -> Run:
    try:
        return _joined(session.connection())
    except PendingRollbackError as error:
        raise broken() from error


async def _joined_async_session(session: Any) -> AsyncRun:
    try:
        return await _joined_async(await session.connection())
    except PendingRollbackError as error:
        raise broken() from error


def _check_idle(connection: Any) -> None:
    if connection.closed:
        raise closed(connection)
    if connection.in_transaction():
        raise open_already()


def _check(connection: Any) -> None:
    if connection.closed:
        raise closed(connection)
    dialect = connection.dialect
    if dialect.name != "postgresql" or dialect.driver not in _DRIVERS:
        raise ClientError(
            f"SQLAlchemy's {dialect.name}+{dialect.driver} cannot be used: use postgresql with one "
            f"of {', '.join(_DRIVERS)}"
        )
    if connection.connection.dbapi_connection.autocommit:
        raise ClientError(
            "SQLAlchemy's isolation level is AUTOCOMMIT, which has no transaction to insert in: "
            'give engine.execution_options(isolation_level="READ COMMITTED")'
        )


def _worded(driver: str, query: Query) -> tuple[str, Any]:
    """The statement and its parameters as the driver under SQLAlchemy has them."""
    if driver == "asyncpg":
        sql, names = numbered(query.name, query.schema)
        return sql, tuple(query.parameters[name] for name in names)
    if driver == "psycopg2":
        return named(query.name, query.schema), dict(query.parameters)
    return statement(query.name, query.schema).decode(), dict(query.parameters)


@contextmanager
def _begun_driver(driver: Any, statements: int) -> Iterator[Run]:
    """As riverqueue's: on a connection, in its transaction, which the caller commits."""
    if hasattr(driver.conn, "connect"):
        with _begun_engine(driver.conn, statements) as run:
            yield run
    else:
        yield _joined(driver.conn)


@asynccontextmanager
async def _begun_async_driver(driver: Any, statements: int) -> AsyncIterator[AsyncRun]:
    if hasattr(driver.conn, "connect"):
        async with _begun_async_engine(driver.conn, statements) as run:
            yield run
    else:
        yield await _joined_async(driver.conn)


KINDS: dict[str, Kind | AsyncKind] = {
    "Engine": Kind(_begun_engine, many=True),
    "Connection": Kind(_begun, _joined),
    "Session": Kind(_begun_session, _joined_session),
    "scoped_session": Kind(_begun_session, _joined_session, many=True),
    "AsyncEngine": AsyncKind(_begun_async_engine, many=True),
    "AsyncConnection": AsyncKind(_begun_async, _joined_async),
    "AsyncSession": AsyncKind(_begun_async_session, _joined_async_session),
    "async_scoped_session": AsyncKind(_begun_async_session, _joined_async_session, many=True),
    # Those of riverbridge.driver.riversqlalchemy.
    "Driver": Kind(_begun_driver, many=True),
    "AsyncDriver": AsyncKind(_begun_async_driver, many=True),
}
