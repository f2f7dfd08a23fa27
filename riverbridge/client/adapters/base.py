"""What the clients ask of a connection, and the sources made of what a caller gave."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeAlias, TypeVar

from riverbridge.errors import ClientError
from riverbridge.store.exchange import (
    Exchange,
    Query,
    Rows,
    carry_out,
    carry_out_async,
    sqlstate,
)

T = TypeVar("T")

Run: TypeAlias = Callable[[Query], Rows]
"""Sends one query in a transaction that is open and returns its rows."""

AsyncRun: TypeAlias = Callable[[Query], Awaitable[Rows]]


class Source(Protocol):
    """Where transactions of the client's own come from."""

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction and commit it; roll back on any error.

        statements: how many it sends at most. One may be sent alone, as its own transaction.
        """
        ...

    def close(self) -> None:
        """Close what the source itself has opened. May be called again."""
        ...


class AsyncSource(Protocol):
    """As `Source`, awaited."""

    async def perform(self, exchange: Exchange[T], statements: int) -> T: ...

    async def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Kind:
    """What can be done with objects of one class.

    begun: begins a transaction for as many statements as said, and commits it. joined: runs
    queries in the transaction that is open. Either is None where the object is not fit for it.
    many: whether transactions may be begun at the same time.
    """

    begun: Callable[[Any, int], AbstractContextManager[Run]] | None = None
    joined: Callable[[Any], Run] | None = None
    many: bool = False


@dataclasses.dataclass(frozen=True)
class AsyncKind:
    """As `Kind`, for objects that are awaited."""

    begun: Callable[[Any, int], AbstractAsyncContextManager[AsyncRun]] | None = None
    joined: Callable[[Any], Awaitable[AsyncRun]] | None = None
    many: bool = False


class Given:
    """Begins transactions on what the caller gave, which stays the caller's."""

    def __init__(
        self,
        begun: Callable[[Any, int], AbstractContextManager[Run]],
        given: object,
        *,
        many: bool,
    ) -> None:
        self._begun = begun
        self._given = given
        self._turn = nullcontext() if many else threading.Lock()

    def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction of its own, under the caller's time limits."""
        with self._turn, self._begun(self._given, statements) as run:
            return carry_out(exchange, run)

    def close(self) -> None:
        """Nothing: the caller closes what is the caller's."""


class AsyncGiven:
    """As `Given`, awaited."""

    def __init__(
        self,
        begun: Callable[[Any, int], AbstractAsyncContextManager[AsyncRun]],
        given: object,
        *,
        many: bool,
    ) -> None:
        self._begun = begun
        self._given = given
        self._turn = nullcontext() if many else asyncio.Lock()

    async def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in a transaction of its own, under the caller's time limits."""
        async with self._turn, self._begun(self._given, statements) as run:
            return await carry_out_async(exchange, run)

    async def close(self) -> None:
        """Nothing: the caller closes what is the caller's."""


def open_already() -> ClientError:
    """A transaction of the client's own was asked for in the middle of the caller's."""
    # A savepoint would do, but the job would vanish with a transaction never committed.
    return ClientError(
        "the connection has a transaction open: use the method whose name ends in _tx, such as "
        "insert_tx, to join it, or end it first"
    )


def none_open(how: str) -> ClientError:
    """There is no transaction to join. how: what opens one."""
    return ClientError(
        "tx: no transaction is open and the connection is in autocommit: "
        f"open one with `{how}`, or use the method without _tx"
    )


def closed(given: object) -> ClientError:
    """What was given is closed."""
    return ClientError(f"the {type(given).__name__} is closed: give one that is open")


def broken() -> ClientError:
    """An earlier statement of the caller's transaction failed."""
    return ClientError(
        "tx: an earlier statement of the transaction failed, so nothing more can be done in it: "
        "roll back, or to a savepoint, and begin anew"
    )


def is_broken(error: BaseException) -> bool:
    """Whether the server refused a statement because of an earlier one, whatever the driver."""
    return sqlstate(error) == "25P02"
