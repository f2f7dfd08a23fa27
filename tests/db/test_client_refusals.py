"""Connections that cannot be used as they are: the client says so, and sends nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import pytest

from riverbridge import AsyncClient, Client, ClientError, InsertOpts
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Awaited, run, url
from tests.support.database import Database
from tests.support.witness import Witness

WAYS = {way.name: way for way in SYNC + ASYNC}
# Of the others each transaction is on a connection that only it knows.
CONNECTIONS = [
    "psycopg", "psycopg2", "django", "connection-psycopg", "session-psycopg2",
    "async-psycopg", "asyncpg", "async-connection-asyncpg", "async-session-psycopg",
]  # fmt: skip
POOLS = ["psycopg-pool", "engine-psycopg", "async-psycopg-pool", "asyncpg-pool"]


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


class RolledBack(Exception):
    pass


@pytest.mark.parametrize("name", [*CONNECTIONS, *POOLS])
def test_a_connection_of_the_other_kind_names_the_client_it_is_for(
    tables: Database, name: str
) -> None:
    way = WAYS[name]
    other, words = (Client, "asyncio: use AsyncClient") if way.client is AsyncClient else (
        AsyncClient, "not for asyncio: use Client",
    )  # fmt: skip

    async def scenario() -> None:
        async with way.given(tables) as given:
            with pytest.raises(ClientError, match=words):
                other(given)
            with pytest.raises(ClientError, match=words):
                await Awaited(other(tables.dsn)).insert_tx(given, Placed(1))

    run(way, scenario())


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_transaction_of_its_own_is_not_begun_inside_the_callers(
    tables: Database, witness: Witness, name: str
) -> None:
    way = WAYS[name]

    async def scenario() -> None:
        async with way.given(tables) as given, way.begin(given):
            with pytest.raises(ClientError, match="insert_tx, to join it, or end it first"):
                await Awaited(way.client(given)).insert(Placed(1))

    run(way, scenario())
    assert witness.jobs() == 0


@pytest.mark.parametrize("name", WAYS)
def test_a_transaction_that_failed_before_is_told_of(
    tables: Database, witness: Witness, name: str
) -> None:
    way = WAYS[name]
    witness.connection.execute("ALTER TABLE river_job ADD CONSTRAINT small CHECK (priority < 4)")

    async def inside() -> None:
        client = Awaited(way.client(tables.dsn))
        async with way.begun(tables) as tx:
            with pytest.raises(Exception, match="violates check constraint"):
                await client.insert_tx(tx, Placed(1), InsertOpts(priority=4))
            with pytest.raises(ClientError, match="earlier statement of the transaction failed"):
                await client.insert_tx(tx, Placed(2))
            raise RolledBack

    async def scenario() -> None:
        with pytest.raises(RolledBack):
            await inside()

    try:
        run(way, scenario())
    finally:
        witness.connection.execute("ALTER TABLE river_job DROP CONSTRAINT small")
    assert witness.jobs() == 0


@pytest.mark.parametrize(
    "name", [name for name in CONNECTIONS if "-" not in name] + ["async-psycopg"]
)
def test_there_is_no_transaction_to_join(tables: Database, witness: Witness, name: str) -> None:
    way = WAYS[name]

    async def scenario() -> None:
        async with way.given(tables) as given:
            if name == "psycopg2":
                given.autocommit = True
            with pytest.raises(ClientError, match=r"no transaction is open.*open one with `"):
                await Awaited(way.client(given)).insert_tx(given, Placed(1))

    run(way, scenario())
    assert witness.jobs() == 0


@pytest.mark.parametrize("name", POOLS)
def test_what_has_no_transaction_cannot_be_joined(tables: Database, name: str) -> None:
    way = WAYS[name]

    async def scenario() -> None:
        async with way.given(tables) as given:
            with pytest.raises(ClientError, match=r"Pool|Engine cannot have a transaction open"):
                await Awaited(way.client(given)).insert_tx(given, Placed(1))

    run(way, scenario())


@pytest.mark.parametrize(
    "name", [name for name in CONNECTIONS if name != "django" and "session" not in name]
)
def test_a_closed_connection_is_told_of(tables: Database, name: str) -> None:
    """But SQLAlchemy's sessions and Django's connections open themselves again."""
    way = WAYS[name]

    async def scenario() -> None:
        async with way.given(tables) as given:
            client = Awaited(way.client(given))
        for call in (client.insert(Placed(1)), client.insert_tx(given, Placed(1))):
            with pytest.raises(ClientError, match="is closed: give one that is open"):
                await call

    run(way, scenario())


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_sqlalchemy_in_autocommit_has_no_transaction(
    tables: Database, witness: Witness, driver: str
) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import create_async_engine

    async def awaited() -> None:
        engine = create_async_engine(url(tables, driver), isolation_level="AUTOCOMMIT")
        with pytest.raises(ClientError, match="isolation level is AUTOCOMMIT"):
            await AsyncClient(engine).insert(Placed(1))
        await AsyncClient(engine.execution_options(isolation_level="READ COMMITTED")).insert(
            Placed(1)
        )
        await engine.dispose()

    if driver == "asyncpg":
        asyncio.run(awaited())
    else:
        engine = create_engine(url(tables, driver), isolation_level="AUTOCOMMIT")
        with pytest.raises(ClientError, match="isolation level is AUTOCOMMIT"):
            Client(engine).insert(Placed(1))
        Client(engine.execution_options(isolation_level="READ COMMITTED")).insert(Placed(1))
        engine.dispose()
    assert witness.jobs() == 1


def test_another_database_is_refused() -> None:
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    with pytest.raises(ClientError, match=r"sqlite\+pysqlite cannot be used: use postgresql"):
        Client(engine).insert(Placed(1))
    engine.dispose()


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_what_is_no_connection_is_refused(client: type[Client] | type[AsyncClient]) -> None:
    with pytest.raises(ClientError, match=r"^connection: int cannot be used: give a DSN"):
        client(7)
    with pytest.raises(ClientError, match=r"^connection: NoneType cannot be used"):
        client(None)


def test_a_function_must_open_a_psycopg_connection() -> None:
    with pytest.raises(ClientError, match=r"must open a psycopg connection.*class int"):
        Client(lambda: 7).insert(Placed(1))
