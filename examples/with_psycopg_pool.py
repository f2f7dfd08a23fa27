"""Jobs in the transactions of a psycopg 3 pool's connections, and outside of any."""

import os
from dataclasses import dataclass
from typing import ClassVar

from psycopg_pool import ConnectionPool

from riverbridge import Client


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


with ConnectionPool(os.environ["DATABASE_URL"], min_size=1) as pool:
    client = Client(pool)  # one for the whole application; threads may share it
    with pool.connection() as connection:  # commits at the end of the block
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer text)"
        )
        connection.execute("INSERT INTO orders VALUES (2, 'bob')")
        client.insert_tx(connection, OrderPlaced(2, "bob"))
    client.insert(OrderPlaced(3, "cyd"))  # in a transaction of its own, on a connection of the pool
