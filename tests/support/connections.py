"""Every kind of connection an application may have, for tests of the clients."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from riverbridge import AsyncClient, Client
from tests.support.database import Database

Opens = Callable[[Any], AbstractContextManager[Any]]
OpensAsync = Callable[[Any], AbstractAsyncContextManager[Any]]


@dataclasses.dataclass(frozen=True)
class Way:
    """given: opens what a client is made of. begin: a transaction on it, and what `_tx` is given.

    The transaction ends with its block, by commit or, on an exception, by rollback.
    """

    name: str
    client: type[Client] | type[AsyncClient]
    given: OpensAsync
    begin: OpensAsync

    @asynccontextmanager
    async def begun(self, database: Database) -> AsyncIterator[Any]:
        """A transaction on a connection of its own."""
        async with self.given(database) as given, self.begin(given) as tx:
            yield tx


class Awaited:
    """A client of either kind, all of whose methods are awaited."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def call(*args: Any, **named: Any) -> Any:
            result = method(*args, **named)
            return await result if isinstance(self._client, AsyncClient) else result

        return call


def run(way: Way, scenario: Coroutine[Any, Any, None]) -> None:
    """In an event loop only where one is needed: Django refuses to work inside of one."""
    if way.client is AsyncClient:
        asyncio.run(scenario)
    else:
        with pytest.raises(StopIteration):
            scenario.send(None)


def url(database: Database, driver: str = "") -> str:
    """The database's URL, as SQLAlchemy and asyncpg read it."""
    known = {key: quote(str(value), "") for key, value in conninfo_to_dict(database.dsn).items()}
    user = known["user"] + (f":{known['password']}" if "password" in known else "")
    place = f"{known['host']}:{known['port']}/{known['dbname']}"
    return f"postgresql{driver and '+'}{driver}://{user}@{place}"


def _awaited(opens: Opens) -> OpensAsync:
    @asynccontextmanager
    async def opened(of: Any) -> AsyncIterator[Any]:
        with opens(of) as found:
            yield found

    return opened


def _way(name: str, given: Opens, begin: Opens) -> Way:
    return Way(name, Client, _awaited(given), _awaited(begin))


@contextmanager
def _of(given: Any, begun: AbstractContextManager[Any]) -> Iterator[Any]:
    with begun:
        yield given


@asynccontextmanager
async def _of_async(given: Any, begun: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
    async with begun:
        yield given


@contextmanager
def _on_dsn(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction():
        yield connection


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    with connection.transaction(), connection.cursor() as cursor:
        yield cursor


def _psycopg_pool(database: Database) -> AbstractContextManager[Any]:
    from psycopg_pool import ConnectionPool

    pool: AbstractContextManager[Any] = ConnectionPool(
        database.dsn, min_size=1, max_size=2, open=True
    )
    return pool


def _psycopg2(database: Database) -> AbstractContextManager[Any]:
    import psycopg2
    from psycopg2.extras import RealDictCursor

    return closing(psycopg2.connect(database.dsn, cursor_factory=RealDictCursor))


@contextmanager
def _django(database: Database) -> Iterator[Any]:
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        settings.configure(DATABASES={"default": {}})
        django.setup()
    known = conninfo_to_dict(database.dsn)
    keys = {
        "NAME": "dbname",
        "USER": "user",
        "PASSWORD": "password",
        "HOST": "host",
        "PORT": "port",
    }
    connections.settings = connections.configure_settings(
        {
            "default": {"ENGINE": "django.db.backends.postgresql"}
            | {ours: str(known.get(theirs) or "") for ours, theirs in keys.items()}
        }
    )
    from django.db import connection

    try:
        yield connection
    finally:
        connections["default"].close()
        del connections["default"]


def _atomic(connection: Any) -> AbstractContextManager[Any]:
    from django.db import transaction

    return _of(connection, transaction.atomic())


def _sqlalchemy(driver: str) -> list[Way]:
    @contextmanager
    def engine(database: Database) -> Iterator[Any]:
        from sqlalchemy import create_engine

        made = create_engine(url(database, driver))
        try:
            yield made
        finally:
            made.dispose()

    @contextmanager
    def connection(database: Database) -> Iterator[Any]:
        with engine(database) as made, made.connect() as opened:
            yield opened

    @contextmanager
    def session(database: Database) -> Iterator[Any]:
        from sqlalchemy.orm import Session

        with engine(database) as made, Session(made) as opened:
            yield opened

    @contextmanager
    def wrapped(database: Database) -> Iterator[Any]:
        from riverbridge.driver import riversqlalchemy

        with engine(database) as made:
            yield riversqlalchemy.Driver(made)

    return [
        _way(f"engine-{driver}", engine, lambda made: made.begin()),
        _way(f"connection-{driver}", connection, lambda opened: _of(opened, opened.begin())),
        _way(f"session-{driver}", session, lambda opened: _of(opened, opened.begin())),
        _way(f"driver-{driver}", wrapped, lambda made: made.conn.begin()),
    ]


SYNC = [
    _way("dsn", lambda database: nullcontext(database.dsn), _on_dsn),
    _way("psycopg", lambda database: database.connect(), lambda c: _of(c, c.transaction())),
    _way("psycopg-cursor", lambda database: database.connect(autocommit=False), _cursor),
    _way("psycopg-pool", _psycopg_pool, lambda pool: pool.connection()),
    _way("psycopg2", _psycopg2, lambda c: _of(c, c)),
    _way("django", _django, _atomic),
    *_sqlalchemy("psycopg"),
    *_sqlalchemy("psycopg2"),
]
