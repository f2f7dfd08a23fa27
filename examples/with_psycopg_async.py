"""The same with psycopg's pool for asyncio."""

import asyncio
import os
from dataclasses import dataclass
from typing import ClassVar

from psycopg_pool import AsyncConnectionPool

from riverbridge import AsyncClient


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


async def main() -> None:
    async with AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=1, open=False) as pool:
        client = AsyncClient(pool)
        async with pool.connection() as connection:  # commits at the end of the block
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer text)"
            )
            await connection.execute("INSERT INTO orders VALUES (4, 'dan')")
            await client.insert_tx(connection, OrderPlaced(4, "dan"))
        await client.insert(OrderPlaced(5, "eve"))


asyncio.run(main())
