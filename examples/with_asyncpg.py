"""Jobs in the transactions of an asyncpg pool's connections, and outside of any."""

import asyncio
import os
from dataclasses import dataclass
from typing import ClassVar

import asyncpg

from riverbridge import AsyncClient


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


async def main() -> None:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as pool:
        client = AsyncClient(pool)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer text)"
            )
            await connection.execute("INSERT INTO orders VALUES ($1, $2)", 7, "ivy")
            await client.insert_tx(connection, OrderPlaced(7, "ivy"))
        await client.insert_many([OrderPlaced(8, "jim"), OrderPlaced(9, "kay")])


asyncio.run(main())
