"""A job in the transaction of a psycopg 3 connection."""

import os
from dataclasses import dataclass
from typing import ClassVar

import psycopg

from riverbridge import Client


@dataclass
class OrderPlaced:
    order_id: int
    customer: str
    kind: ClassVar[str] = "order.placed"


with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer text)")
    client = Client(connection)
    with connection.transaction():
        connection.execute("INSERT INTO orders VALUES (1, 'ann')")
        result = client.insert_tx(connection, OrderPlaced(1, "ann"))
    print("inserted job", result.job.id)
