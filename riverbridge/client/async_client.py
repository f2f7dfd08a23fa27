"""The client for asyncio; see `client` for what both promise."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

from riverbridge.client.adapters.choose import async_joined, async_source
from riverbridge.client.batch import checked
from riverbridge.errors import ClientError
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import InsertManyParams, InsertOpts, InsertResult
from riverbridge.store.exchange import Exchange, carry_out_async
from riverbridge.store.insert import CHUNK, insert_many

T = TypeVar("T")


class AsyncClient:
    """As `Client`, awaited; each method does and raises what its twin does."""

    def __init__(self, connection: object, *, schema: str | None = None) -> None:
        """Open nothing yet. Raises ConfigurationError for a DSN or schema that cannot work."""
        if schema:
            check_schema_name(schema)
        self._schema = schema or None
        self._source = async_source(connection)
        self._closed = False

    async def insert(self, args: object, opts: InsertOpts | None = None) -> InsertResult:
        return (await self.insert_many([InsertManyParams(args, opts)]))[0]

    async def insert_tx(
        self, tx: object, args: object, opts: InsertOpts | None = None
    ) -> InsertResult:
        return (await self.insert_many_tx(tx, [InsertManyParams(args, opts)]))[0]

    async def insert_many(self, jobs: Sequence[object]) -> list[InsertResult]:
        new = checked(jobs)
        return await self._perform(
            insert_many(new, schema=self._schema), statements=1 + len(new) // CHUNK
        )

    async def insert_many_tx(self, tx: object, jobs: Sequence[object]) -> list[InsertResult]:
        return await self._perform_tx(tx, insert_many(checked(jobs), schema=self._schema))

    async def close(self) -> None:
        self._closed = True
        await self._source.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _perform(self, exchange: Exchange[T], *, statements: int = 1) -> T:
        """Run an operation in a transaction of its own; when this returns it is committed.

        statements: how many it may send, which bounds its time on a connection of the client's own.
        """
        if self._closed:
            raise ClientError("the client is closed: make another")
        return await self._source.perform(exchange, statements)

    async def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T:
        """Run an operation in the transaction open on `tx`, which it neither commits nor ends."""
        return await carry_out_async(exchange, await async_joined(tx))
