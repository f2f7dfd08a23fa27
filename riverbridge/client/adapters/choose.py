"""Which adapter an object is for, told from its class: no library is imported to find out."""

from __future__ import annotations

from typing import Any

from riverbridge.client.adapters import psycopg3
from riverbridge.client.adapters.base import AsyncRun, AsyncSource, Run, Source
from riverbridge.client.adapters.own import OwnConnection
from riverbridge.client.adapters.threaded import Threaded
from riverbridge.errors import ClientError
from riverbridge.store.database import connector
from riverbridge.store.dsn import parse_dsn


def source(connection: object) -> Source:
    """Where the transactions of a `Client` come from. Raises ClientError, ConfigurationError."""
    if isinstance(connection, str):
        parse_dsn(connection)
        return OwnConnection(connector(connection))
    given: Any = connection
    if _kind(given) == "psycopg.Connection":
        return psycopg3.GivenConnection(given)
    if callable(given):
        return OwnConnection(given)
    raise ClientError(
        f"connection: a {type(connection).__name__} cannot be used: give a psycopg "
        "connection, a DSN or a function that opens a connection"
    )


def async_source(connection: object) -> AsyncSource:
    """As `source`, for an `AsyncClient`."""
    given: Any = connection
    if _kind(given) == "psycopg.AsyncConnection":
        return psycopg3.AsyncGivenConnection(given)
    return Threaded(source(connection))


def joined(tx: object) -> Run:
    """Runs queries in the transaction open on `tx`. Raises ClientError if there is none."""
    given: Any = tx
    match _kind(given):
        case "psycopg.Connection":
            return psycopg3.joined(given)
        case "psycopg.Cursor":
            return psycopg3.joined(given.connection)
    raise ClientError(
        f"tx: a {type(tx).__name__} cannot be used: give a psycopg connection or cursor"
    )


async def async_joined(tx: object) -> AsyncRun:
    """As `joined`, for an `AsyncClient`."""
    given: Any = tx
    match _kind(given):
        case "psycopg.AsyncConnection":
            return psycopg3.joined_async(given)
        case "psycopg.AsyncCursor":
            return psycopg3.joined_async(given.connection)
    raise ClientError(
        f"tx: a {type(tx).__name__} cannot be used: give a psycopg async connection or cursor"
    )


_KNOWN = {
    "psycopg.Connection",
    "psycopg.Cursor",
    "psycopg.AsyncConnection",
    "psycopg.AsyncCursor",
}


def _kind(given: object) -> str | None:
    for class_ in type(given).__mro__:
        name = f"{class_.__module__.partition('.')[0]}.{class_.__name__}"
        if name in _KNOWN:
            return name
    return None
