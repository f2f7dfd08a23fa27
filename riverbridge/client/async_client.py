"""The client for asyncio; what it promises is said of `Client`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TypeVar

from riverbridge.client.adapters.base import broken, is_broken
from riverbridge.client.adapters.choose import async_joined, async_source
from riverbridge.client.administration import AsyncJobAdministration
from riverbridge.client.announcing import Announcements
from riverbridge.client.batch import AsyncInsertMiddleware, InsertHook, Preparation, around, only
from riverbridge.errors import ClientError
from riverbridge.model.args import JobArgs
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import (
    InsertManyParams,
    InsertOpts,
    InsertResult,
    NewJob,
    either_opts,
)
from riverbridge.store.exchange import Exchange, carry_out_async
from riverbridge.store.insert import (
    insert_alike,
    insert_many,
    insert_many_fast,
    statements,
)

T = TypeVar("T")


class AsyncClient(AsyncJobAdministration):
    """As `Client`, awaited: each method does and raises what its twin does.

    connection: a psycopg AsyncConnection or AsyncConnectionPool, an asyncpg connection or pool, or
    a SQLAlchemy AsyncEngine, AsyncConnection or AsyncSession. Or a DSN, or a function that opens a
    synchronous psycopg connection: the client's own connection is used in a thread. A task that is
    cancelled leaves what it waited for to that thread: it may have been committed, or not.
    """

    def __init__(
        self,
        connection: object,
        *,
        schema: str | None = None,
        defaults: InsertOpts | None = None,
        insert_hooks: Sequence[InsertHook] = (),
        insert_middleware: Sequence[AsyncInsertMiddleware] = (),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Open nothing yet.

        Raises ClientError for a connection and ConfigurationError for a DSN or schema that cannot
        work.
        """
        if schema:
            check_schema_name(schema)
        self._schema = schema or None
        self._source = async_source(connection)
        self._preparation = Preparation(defaults, insert_hooks, now)
        self._middleware = tuple(insert_middleware)
        # Apart, as what joins a transaction may yet be rolled back with it.
        self._announcements, self._announcements_tx = Announcements(), Announcements()
        self._closed = False

    async def insert(
        self,
        args: JobArgs,
        opts: InsertOpts | None = None,
        *,
        insert_opts: InsertOpts | None = None,
    ) -> InsertResult:
        """Insert one job. opts and insert_opts are two names for one thing."""
        job = self._preparation.job(args, either_opts(opts, insert_opts))
        return only(await self._inserted(insert_many, [job]))

    async def insert_tx(
        self,
        tx: object,
        args: JobArgs,
        opts: InsertOpts | None = None,
        *,
        insert_opts: InsertOpts | None = None,
    ) -> InsertResult:
        """As `insert`, in the transaction open on `tx`."""
        job = self._preparation.job(args, either_opts(opts, insert_opts))
        return only(await self._inserted(insert_many, [job], tx))

    async def insert_many(self, jobs: Sequence[JobArgs | InsertManyParams]) -> list[InsertResult]:
        """Insert `jobs`, each args or InsertManyParams: all of them or none."""
        return await self._inserted(insert_many, self._preparation.jobs(jobs))

    async def insert_many_tx(
        self, tx: object, jobs: Sequence[JobArgs | InsertManyParams]
    ) -> list[InsertResult]:
        """As `insert_many`, in the transaction open on `tx`."""
        return await self._inserted(insert_many, self._preparation.jobs(jobs), tx)

    async def insert_many_fast(self, jobs: Sequence[JobArgs | InsertManyParams]) -> int:
        """As `insert_many`, but without the rows: how many jobs were inserted."""
        return await self._inserted_fast(jobs)

    async def insert_many_fast_tx(
        self, tx: object, jobs: Sequence[JobArgs | InsertManyParams]
    ) -> int:
        """As `insert_many_fast`, in the transaction open on `tx`."""
        return await self._inserted_fast(jobs, tx)

    async def close(self) -> None:
        """Close the client's own connection, if it has one. May be called again."""
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

    async def _inserted(
        self, operation: Callable[..., Exchange[T]], jobs: list[NewJob], *tx: object
    ) -> T:
        """Through the middleware and the hooks; in a transaction of its own if no `tx` is given."""

        async def insert(new: list[NewJob]) -> T:
            new = self._preparation.hooked(new)
            return await self._sent(operation, new, statements(new), *tx)

        return await around(self._middleware, insert)(jobs)

    async def _inserted_fast(self, jobs: Sequence[JobArgs | InsertManyParams], *tx: object) -> int:
        alike = None if self._middleware else self._preparation.alike(jobs)
        if alike is None:
            return await self._inserted(insert_many_fast, self._preparation.jobs(jobs), *tx)
        return await self._sent(insert_alike, alike, len(alike), *tx)

    async def _sent(
        self,
        operation: Callable[..., Exchange[T]],
        jobs: Sequence[NewJob],
        statements: int,
        *tx: object,
    ) -> T:
        announcements = self._announcements_tx if tx else self._announcements
        with announcements.of(jobs) as queues:
            exchange = operation(jobs, queues=queues, schema=self._schema)
            if tx:
                return await self._perform_tx(tx[0], exchange)
            return await self._perform(exchange, statements=statements)

    async def _perform(self, exchange: Exchange[T], *, statements: int = 2) -> T:
        """Run an operation in a transaction of its own; when this returns it is committed.

        statements: how many it sends at most, which bounds its time on a connection of the client's
        own. Where it is one, that is its own transaction, with nothing around it.
        """
        if self._closed:
            raise ClientError("the client is closed: make another")
        return await self._source.perform(exchange, statements)

    async def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T:
        """Run an operation in the transaction open on `tx`, which it neither commits nor ends."""
        try:
            return await carry_out_async(exchange, await async_joined(tx))
        except Exception as error:
            if is_broken(error):
                raise broken() from error
            raise
