"""asyncpg: connections and pools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from riverbridge.client.adapters.base import (
    AsyncKind,
    AsyncRun,
    Kind,
    closed,
    none_open,
    open_already,
)
from riverbridge.client.adapters.style import numbered
from riverbridge.store.exchange import Query, Rows


async def send(connection: Any, query: Query) -> Rows:
    """Send one query and return its rows."""
    sql, names = numbered(query.name, query.schema)
    records = await connection.fetch(sql, *[query.parameters[name] for name in names])
    return [tuple(record) for record in records]


@asynccontextmanager
async def _begun(connection: Any, statements: int) -> AsyncIterator[AsyncRun]:
    if connection.is_closed():
        raise closed(connection)
    if connection.is_in_transaction():
        raise open_already()
    if statements == 1:
        yield lambda query: send(connection, query)
    else:
        async with connection.transaction():
            yield lambda query: send(connection, query)


@asynccontextmanager
async def _begun_pool(pool: Any, statements: int) -> AsyncIterator[AsyncRun]:
    async with pool.acquire() as connection, _begun(connection, statements) as run:
        yield run


async def _joined(connection: Any) -> AsyncRun:
    if connection.is_closed():
        raise closed(connection)
    if not connection.is_in_transaction():
        raise none_open("async with connection.transaction():")
    return lambda query: send(connection, query)


KINDS: dict[str, Kind | AsyncKind] = {
    "Connection": AsyncKind(_begun, _joined),
    "PoolConnectionProxy": AsyncKind(_begun, _joined),
    "Pool": AsyncKind(_begun_pool, many=True),
}
