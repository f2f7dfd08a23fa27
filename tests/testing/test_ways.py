"""Assertions and testers through every kind of connection: in its transaction, and without one."""

from __future__ import annotations

import asyncio

import pytest

from riverbridge import AsyncClient, Client
from riverbridge.testing import (
    AsyncJobTester,
    Drained,
    JobTester,
    require_inserted,
    require_inserted_async,
    require_many_inserted,
    require_many_inserted_async,
    require_not_inserted,
    require_not_inserted_async,
)
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Way
from tests.support.database import Database
from tests.testing.shop import Mail, Order, shop


@pytest.mark.parametrize("way", SYNC, ids=lambda way: way.name)
def test_every_kind_of_connection(tables: Database, way: Way) -> None:
    async def scenario() -> None:
        async with way.given(tables) as given:
            async with way.begin(given) as tx:
                job = Client(tables.dsn).insert_tx(tx, Mail("ann")).job
                assert require_inserted(tx, Mail, args={"to": "ann"}).id == job.id
                assert require_many_inserted(tx, [Mail]) == [require_inserted(tx, "mail")]
                with tables.connect() as other:
                    require_not_inserted(other, Mail)
            tester = JobTester(given, shop())
            assert tester.work(Order(1)).job.metadata == {"output": {"ordered": 1}}
            assert tester.drain() == Drained(completed=2)
            tester.close()
            require_inserted(given, Mail, state="completed")

    with pytest.raises(StopIteration):
        scenario().send(None)


@pytest.mark.parametrize("way", ASYNC, ids=lambda way: way.name)
def test_every_kind_of_async_connection(tables: Database, way: Way) -> None:
    async def scenario() -> None:
        async with way.given(tables) as given, AsyncClient(tables.dsn) as inserting:
            async with way.begin(given) as tx:
                job = (await inserting.insert_tx(tx, Mail("ann"))).job
                assert (await require_inserted_async(tx, Mail, args={"to": "ann"})).id == job.id
                assert len(await require_many_inserted_async(tx, [Mail])) == 1
                with tables.connect() as other:
                    require_not_inserted(other, Mail)
                with pytest.raises(AssertionError, match="is there"):
                    await require_not_inserted_async(tx, Mail)
            tester = AsyncJobTester(given, shop(in_loop=True))
            assert (await tester.work(Order(1))).job.metadata == {"output": {"ordered": 1}}
            assert await tester.drain() == Drained(completed=2)
            assert (await tester.work(Mail("broken"))).event == "job_failed"
            await tester.close()
            await require_inserted_async(given, Mail, state="completed")

    asyncio.run(scenario())
