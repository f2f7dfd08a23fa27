"""What the clients ask of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from riverbridge.store.exchange import Exchange, Query, Rows

T = TypeVar("T")

Run: TypeAlias = Callable[[Query], Rows]
"""Sends one query in a transaction that is open and returns its rows."""

AsyncRun: TypeAlias = Callable[[Query], Awaitable[Rows]]


class Source(Protocol):
    """Where transactions of the client's own come from."""

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction and commit it; roll back on any error.

        statements: how many it sends at most, where that bounds its time.
        """
        ...

    def close(self) -> None:
        """Close what the source itself has opened. May be called again."""
        ...


class AsyncSource(Protocol):
    """As `Source`, awaited."""

    async def perform(self, exchange: Exchange[T], statements: int) -> T: ...

    async def close(self) -> None: ...
