"""The kinds of connection of an application that uses asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg

from riverbridge import AsyncClient
from tests.support.connections import OpensAsync, Way, url
from tests.support.database import Database


def _way(name: str, given: OpensAsync, begin: OpensAsync) -> Way:
    return Way(name, AsyncClient, given, begin)


@asynccontextmanager
async def _of(given: Any, begun: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    async with begun:
        yield given


@asynccontextmanager
async def _dsn(database: Database) -> AsyncIterator[Any]:
    yield database.dsn


@asynccontextmanager
async def _on_dsn(dsn: str) -> AsyncIterator[Any]:
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with connection, connection.transaction():
        yield connection


@asynccontextmanager
async def _psycopg(database: Database) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(database.dsn, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def _cursor(connection: Any) -> AsyncIterator[Any]:
    async with connection.transaction(), connection.cursor() as cursor:
        yield cursor


def _psycopg_pool(database: Database) -> AbstractAsyncContextManager[Any]:
    from psycopg_pool import AsyncConnectionPool

    pool: AbstractAsyncContextManager[Any] = AsyncConnectionPool(
        database.dsn, min_size=1, max_size=2, open=False
    )
    return pool


@asynccontextmanager
async def _asyncpg(database: Database) -> AsyncIterator[Any]:
    import asyncpg

    connection = await asyncpg.connect(url(database))
    try:
        yield connection
    finally:
        await connection.close()


def _asyncpg_pool(database: Database) -> AbstractAsyncContextManager[Any]:
    import asyncpg

    pool: AbstractAsyncContextManager[Any] = asyncpg.create_pool(
        url(database), min_size=1, max_size=2
    )
    return pool


@asynccontextmanager
async def _from_pool(pool: Any) -> AsyncIterator[Any]:
    async with pool.acquire() as connection, connection.transaction():
        yield connection


def _sqlalchemy(driver: str) -> list[Way]:
    @asynccontextmanager
    async def engine(database: Database) -> AsyncIterator[Any]:
        from sqlalchemy.ext.asyncio import create_async_engine

        made = create_async_engine(url(database, driver))
        try:
            yield made
        finally:
            await made.dispose()

    @asynccontextmanager
    async def connection(database: Database) -> AsyncIterator[Any]:
        async with engine(database) as made, made.connect() as opened:
            yield opened

    @asynccontextmanager
    async def session(database: Database) -> AsyncIterator[Any]:
        from sqlalchemy.ext.asyncio import AsyncSession

        async with engine(database) as made, AsyncSession(made) as opened:
            yield opened

    @asynccontextmanager
    async def wrapped(database: Database) -> AsyncIterator[Any]:
        from riverbridge.driver import riversqlalchemy

        async with engine(database) as made:
            yield riversqlalchemy.AsyncDriver(made)

    return [
        _way(f"async-engine-{driver}", engine, lambda made: made.begin()),
        _way(f"async-connection-{driver}", connection, lambda c: _of(c, c.begin())),
        _way(f"async-session-{driver}", session, lambda s: _of(s, s.begin())),
        _way(f"async-driver-{driver}", wrapped, lambda made: made.conn.begin()),
    ]


ASYNC = [
    _way("async-dsn", _dsn, _on_dsn),
    _way("async-psycopg", _psycopg, lambda c: _of(c, c.transaction())),
    _way("async-psycopg-cursor", _psycopg, _cursor),
    _way("async-psycopg-pool", _psycopg_pool, lambda pool: pool.connection()),
    _way("asyncpg", _asyncpg, lambda c: _of(c, c.transaction())),
    _way("asyncpg-pool", _asyncpg_pool, _from_pool),
    *_sqlalchemy("psycopg"),
    *_sqlalchemy("asyncpg"),
]
