"""What the types of the public names allow. Only checked, never run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import psycopg

import riverbridge
from riverbridge import (
    AsyncClient,
    Client,
    InsertManyParams,
    InsertOpts,
    InsertResult,
    Job,
    JobState,
    RawArgs,
    UniqueOpts,
)


@dataclass
class OrderPlaced:
    order_id: int
    kind: ClassVar[str] = "order.placed"


@dataclass(frozen=True, slots=True)
class OrderPaid:
    order_id: int
    kind: ClassVar[str] = "order.paid"

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="payments")


class OrderSent(msgspec.Struct, frozen=True):
    order_id: int
    kind: ClassVar[str] = "order.sent"


@dataclass
class AsInRiverqueue:
    order_id: int
    kind: str = "order.old"

    def to_json(self) -> str:
        return f'{{"order_id": {self.order_id}}}'


@dataclass
class KindByValue:
    tenant: str

    @property
    def kind(self) -> str:
        return f"sync.{self.tenant}"

    def to_json(self) -> str:
        return "{}"


def insert(client: Client, connection: psycopg.Connection) -> list[InsertResult]:
    once = UniqueOpts(by_args=True, by_period=timedelta(hours=1), by_state=list(JobState))
    result = client.insert(OrderPlaced(1), InsertOpts(unique_opts=once, metadata={"a": [1]}))
    job: Job = result.job
    seen: tuple[JobState, datetime, bool] = (
        job.state,
        job.created_at,
        result.unique_skipped_as_duplicate,
    )
    client.insert(OrderPaid(1), opts=InsertOpts(scheduled_at=datetime.now(UTC)))
    client.insert_tx(connection, OrderSent(1))
    client.insert_tx(connection.cursor(), AsInRiverqueue(1))
    client.insert(KindByValue("a"), insert_opts=InsertOpts(tags=("one", "two")))
    key: bytes | None = riverbridge.unique_key(
        "order.placed", "{}", queue="default", unique_opts=once, now=seen[1]
    )
    count: int = client.insert_many_fast([OrderPlaced(1), RawArgs("order.raw", "{}")])
    print(seen, key, count)
    return client.insert_many([OrderPlaced(1), InsertManyParams(OrderPaid(2), InsertOpts())])


async def insert_async(connection: psycopg.AsyncConnection) -> InsertResult:
    async with AsyncClient(connection) as client:
        many: list[InsertResult] = await client.insert_many_tx(connection, [OrderPlaced(1)])
        print(many)
        return await client.insert(OrderSent(1), InsertOpts(priority=2))
