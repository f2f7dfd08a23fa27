"""The same with riverqueue's client for asyncio."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

import riverqueue
from riverqueue.driver import riversqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine


@dataclass
class Welcome:
    address: str

    kind: str = "welcome"

    def to_json(self) -> str:
        return json.dumps({"address": self.address})


async def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url)
    client = riverqueue.AsyncClient(riversqlalchemy.AsyncDriver(engine))

    result = await client.insert(
        Welcome(address="one@example.com"), insert_opts=riverqueue.InsertOpts(priority=2)
    )
    print(result.job.args, result.job.state, result.unique_skipped_as_duplicated)
    await client.insert_many([Welcome(address="two@example.com")])
    await client.insert_many(
        [
            riverqueue.InsertManyParams(
                Welcome(address="three@example.com"),
                insert_opts=riverqueue.InsertOpts(max_attempts=5),
            )
        ]
    )
    async with engine.begin() as session:
        await client.insert_tx(session, Welcome(address="four@example.com"))
        await client.insert_many_tx(session, [Welcome(address="five@example.com")])
    await engine.dispose()


asyncio.run(main())
