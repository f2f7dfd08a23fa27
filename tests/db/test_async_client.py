"""What only an asynchronous client can meet: many tasks at once, and tasks that are cancelled."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from riverbridge import AsyncClient, Client, ClientError, InsertOpts, UniqueOpts
from tests.support.async_connections import ASYNC
from tests.support.database import Database
from tests.support.wait import eventually
from tests.support.witness import Witness

WAYS = {way.name: way for way in ASYNC}
BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


@pytest.mark.parametrize(
    "name", ["async-dsn", "async-psycopg", "asyncpg", "asyncpg-pool", "async-engine-asyncpg"]
)
def test_many_tasks_share_a_client(tables: Database, witness: Witness, name: str) -> None:
    async def scenario() -> None:
        async with WAYS[name].given(tables) as given, AsyncClient(given) as client:
            await asyncio.gather(*(client.insert(Placed(number)) for number in range(40)))

    asyncio.run(scenario())
    assert witness.jobs() == 40


def waiting(witness: Witness) -> bool:
    row = witness.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("name", ["async-dsn", "async-psycopg", "asyncpg"])
def test_a_client_goes_on_after_a_task_of_it_was_cancelled(
    tables: Database, witness: Witness, name: str
) -> None:
    """What it waited for, another's lock on the key, was in the middle of an insert."""

    async def scenario(other: Any) -> None:
        async with WAYS[name].given(tables) as given, AsyncClient(given) as client:
            task = asyncio.create_task(client.insert(Placed(1), BY_ARGS))
            await asyncio.to_thread(eventually, lambda: waiting(witness))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.rollback()
            await client.insert(Placed(2), BY_ARGS)

    with tables.connect(autocommit=False) as other:
        Client(other).insert_tx(other, Placed(1), BY_ARGS)
        asyncio.run(scenario(other))
    assert witness.jobs() in (1, 2), "on a connection of its own the insert may have gone on"


def test_a_client_with_its_own_connection_leaves_neither_it_nor_a_thread(
    tables: Database, witness: Witness
) -> None:
    async def scenario() -> None:
        client = AsyncClient(tables.dsn)
        await client.insert(Placed(1))
        await client.close()
        await client.close()
        with pytest.raises(ClientError, match="closed"):
            await client.insert(Placed(1))

    before = threading.active_count()
    asyncio.run(scenario())
    eventually(lambda: threading.active_count() <= before)
    eventually(lambda: witness.others() == 0)


def test_one_client_serves_one_event_loop_after_another(tables: Database, witness: Witness) -> None:
    client = AsyncClient(tables.dsn)
    for number in range(3):
        asyncio.run(insert(client, number))
    asyncio.run(client.close())
    assert witness.jobs() == 3


async def insert(client: AsyncClient, number: int) -> None:
    await client.insert(Placed(number))
