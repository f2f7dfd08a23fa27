"""What is said to the database and what it answers, with no driver in between.

An operation of the clients is a generator: it yields a `Query`, is sent that query's rows, and
returns its result. So it is written once, and any connection that can run a query, synchronous or
not, can run the operation: `carry_out` and `carry_out_async` are all it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")

Rows: TypeAlias = Sequence[tuple[Any, ...]]
"""A query's rows, in order; none for a statement that returns none."""


class Query(msgspec.Struct, frozen=True):
    """One statement and its parameters.

    name: the file under `riverbridge.sql`, such as `job/insert`. parameters: plain values and lists
    of them; JSON is text. schema: where River's tables are; None leaves it to the search path.
    """

    name: str
    parameters: Mapping[str, Any] = {}
    schema: str | None = None


Exchange: TypeAlias = Generator[Query, Rows, T]
"""An operation: queries out, rows in, and a result at the end."""


def carry_out(exchange: Exchange[T], run: Callable[[Query], Rows]) -> T:
    """Run an operation with `run`, which sends one query and returns its rows.

    What `run` raises is raised where the operation waits for the rows, so it may turn it into an
    error of its own.
    """
    try:
        query = next(exchange)
        while True:
            try:
                rows = run(query)
            except Exception as error:
                query = exchange.throw(error)
            else:
                query = exchange.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


async def carry_out_async(exchange: Exchange[T], run: Callable[[Query], Awaitable[Rows]]) -> T:
    """As `carry_out`, with a `run` that is awaited."""
    try:
        query = next(exchange)
        while True:
            try:
                rows = await run(query)
            except Exception as error:
                query = exchange.throw(error)
            else:
                query = exchange.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of what a `run` raised, from whatever driver it came, or None.

    psycopg and asyncpg call it `sqlstate`, psycopg2 `pgcode`; SQLAlchemy and Django wrap the
    driver's error in one of their own.
    """
    for each in (error, getattr(error, "orig", None), error.__cause__):
        code = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(code, str):
            return code
    return None
