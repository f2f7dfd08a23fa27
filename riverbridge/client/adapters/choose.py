"""Which adapter an object is for, told from its class: no library is imported to find out."""

from __future__ import annotations

from importlib import import_module

from riverbridge.client.adapters.base import (
    AsyncGiven,
    AsyncKind,
    AsyncRun,
    AsyncSource,
    Given,
    Kind,
    Run,
    Source,
)
from riverbridge.client.adapters.own import OwnConnection
from riverbridge.client.adapters.threaded import Threaded
from riverbridge.errors import ClientError
from riverbridge.store.database import connector
from riverbridge.store.dsn import parse_dsn

_ADAPTERS = {
    "psycopg": "psycopg3",
    "psycopg_pool": "psycopg3",
    "psycopg2": "psycopg2",
    "asyncpg": "asyncpg",
    "sqlalchemy": "sqlalchemy",
    "django": "django",
    "riverbridge": "sqlalchemy",
}
"""The module here for each library, by its top package."""


def source(connection: object) -> Source:
    """Where the transactions of a `Client` come from. Raises ClientError, ConfigurationError."""
    if isinstance(connection, str):
        parse_dsn(connection)
        return OwnConnection(connector(connection))
    kind = _kind(connection)
    if isinstance(kind, AsyncKind):
        raise ClientError(
            f"connection: {type(connection).__name__} is for asyncio: use AsyncClient"
        )
    if kind is not None and kind.begun is not None:
        return Given(kind.begun, connection, many=kind.many)
    if kind is None and callable(connection):
        return OwnConnection(connection)
    raise ClientError(
        f"connection: {type(connection).__name__} cannot be used: give a DSN, a psycopg, psycopg2 "
        "or Django connection, a psycopg pool, a SQLAlchemy Engine, Connection or Session, or a "
        "function that opens a psycopg connection"
    )


def async_source(connection: object) -> AsyncSource:
    """As `source`, for an `AsyncClient`."""
    kind = _kind(connection)
    if isinstance(kind, AsyncKind) and kind.begun is not None:
        return AsyncGiven(kind.begun, connection, many=kind.many)
    if kind is None and (isinstance(connection, str) or callable(connection)):
        return Threaded(source(connection))
    if isinstance(kind, Kind):
        raise ClientError(f"connection: {type(connection).__name__} is not for asyncio: use Client")
    raise ClientError(
        f"connection: {type(connection).__name__} cannot be used: give a DSN, a psycopg "
        "AsyncConnection or AsyncConnectionPool, an asyncpg connection or pool, a SQLAlchemy "
        "AsyncEngine, AsyncConnection or AsyncSession, or a function that opens a psycopg "
        "connection"
    )


def joined(tx: object) -> Run:
    """Runs queries in the transaction open on `tx`. Raises ClientError if there is none."""
    kind = _kind(tx)
    if isinstance(kind, AsyncKind):
        raise ClientError(f"tx: {type(tx).__name__} is for asyncio: use AsyncClient")
    if kind is not None and kind.joined is not None:
        return kind.joined(tx)
    raise ClientError(_no_transaction(tx))


async def async_joined(tx: object) -> AsyncRun:
    """As `joined`, for an `AsyncClient`."""
    kind = _kind(tx)
    if isinstance(kind, AsyncKind) and kind.joined is not None:
        return await kind.joined(tx)
    if isinstance(kind, Kind):
        raise ClientError(f"tx: {type(tx).__name__} is not for asyncio: use Client")
    raise ClientError(_no_transaction(tx))


def _no_transaction(tx: object) -> str:
    return (
        f"tx: {type(tx).__name__} cannot have a transaction open: give the connection or session "
        "that has, from psycopg, psycopg2, asyncpg, SQLAlchemy or Django"
    )


def _kind(given: object) -> Kind | AsyncKind | None:
    for class_ in type(given).__mro__:
        adapter = _ADAPTERS.get(class_.__module__.partition(".")[0])
        if adapter is not None:
            kinds = import_module(f"riverbridge.client.adapters.{adapter}").KINDS
            found: Kind | AsyncKind | None = kinds.get(class_.__name__)
            if found is not None:
                return found
    return None
