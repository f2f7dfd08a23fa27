"""A test's connection, of any kind the clients take: its open transaction, or one for each call."""

from __future__ import annotations

import contextlib
from typing import Any, Self, TypeVar

from riverbridge import AsyncClient, Client
from riverbridge.client.adapters.base import AsyncSource, Source
from riverbridge.client.adapters.choose import async_joined, async_source, joined, source
from riverbridge.errors import ClientError
from riverbridge.store.exchange import Exchange, carry_out, carry_out_async

T = TypeVar("T")


class Link:
    """Joins the transaction that is open on `connection`, and takes its own where none is."""

    def __init__(self, connection: object) -> None:
        self._given = connection
        self._source: Source | None = None

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation; it is committed if no transaction was open. Raises ClientError."""
        run = None
        with contextlib.suppress(ClientError):  # none is open; or else it is said again below
            run = joined(self._given)
        if run is not None:
            return carry_out(exchange, run)
        if self._source is None:
            self._source = source(self._given)
        return self._source.perform(exchange, statements)

    def close(self) -> None:
        """Close what was opened to a DSN."""
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncLink:
    """As `Link`, awaited."""

    def __init__(self, connection: object) -> None:
        self._given = connection
        self._source: AsyncSource | None = None

    async def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation; it is committed if no transaction was open. Raises ClientError."""
        run = None
        with contextlib.suppress(ClientError):
            run = await async_joined(self._given)
        if run is not None:
            return await carry_out_async(exchange, run)
        if self._source is None:
            self._source = async_source(self._given)
        return await self._source.perform(exchange, statements)

    async def close(self) -> None:
        """Close what was opened to a DSN."""
        if self._source is not None:
            await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class JoiningClient(Client):
    """A client whose own transactions are the test's, while one is open on the connection."""

    def __init__(self, connection: object, link: Link, **options: Any) -> None:
        """link: to `connection`; who made it closes it."""
        super().__init__(connection, **options)
        self._source = link


class AsyncJoiningClient(AsyncClient):
    """As `JoiningClient`, awaited."""

    def __init__(self, connection: object, link: AsyncLink, **options: Any) -> None:
        super().__init__(connection, **options)
        self._source = link
