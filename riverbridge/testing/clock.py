"""The database's clock, moved by a test, so that what is due tomorrow is due now.

All instants of jobs are the database's: what makes them is `now()` and its like. Beside River's
tables a clock puts functions of the same names, which add as much as the clock is ahead, and names
pg_catalog last in the session's search path, so that those are found first. So nothing of a program
knows of it, and time goes on from wherever it was set.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from riverbridge.errors import InvalidRequest
from riverbridge.model.names import check_schema_name
from riverbridge.store.clock import server_now
from riverbridge.store.exchange import Exchange, Query
from riverbridge.testing.link import AsyncLink, Link

_PARTS = ("clock/create", "clock/now", "clock/statement_timestamp", "clock/clock_timestamp")


class _Clock:
    """All but the carrying out."""

    def __init__(self, schema: str | None) -> None:
        if schema:
            check_schema_name(schema)
        self._schema = schema or None

    def _start(self) -> Exchange[None]:
        for part in _PARTS:
            yield Query(part, {}, self._schema)
        yield from self._follow()

    def _follow(self) -> Exchange[None]:
        yield Query("clock/follow", {"schema": self._schema})

    def _advance(self, by: timedelta) -> Exchange[None]:
        yield Query("clock/advance", {"seconds": by.total_seconds()}, self._schema)

    def _set(self, instant: datetime) -> Exchange[None]:
        if instant.utcoffset() is None:
            raise InvalidRequest("instant: give a datetime with a time zone")
        yield Query("clock/set", {"instant": instant}, self._schema)


class Clock(_Clock):
    """A clock for the sessions that follow it. Construct, `start`.

    connection: one that a `Client` takes, of a session that lasts: no pool and no engine. schema:
    where River's tables are; None leaves it to the search path.

    It is for databases of tests: a table and three functions stay beside River's tables, unless
    the transaction that `start` was called in is rolled back, which takes all of it back. SQL's own
    words, as CURRENT_TIMESTAMP, and what the tables' defaults say keep the server's time.
    """

    def __init__(self, connection: object, *, schema: str | None = None) -> None:
        super().__init__(schema)
        self._link = Link(connection)

    def start(self) -> Self:
        """Make it, if it is not there, and let the connection follow it."""
        self._link.perform(self._start(), len(_PARTS) + 1)
        return self

    def follow(self, connection: object) -> None:
        """Let another session go by this clock too."""
        with Link(connection) as link:
            link.perform(self._follow(), 1)

    def now(self) -> datetime:
        """What time it is for the connection; in a transaction, when that began."""
        return self._link.perform(server_now(), 1)

    def advance(self, by: timedelta) -> None:
        """Move it on, or back."""
        self._link.perform(self._advance(by), 1)

    def set(self, instant: datetime) -> None:
        """Make it that time now; it goes on from there. Raises InvalidRequest without a zone."""
        self._link.perform(self._set(instant), 1)


class AsyncClock(_Clock):
    """As `Clock`, awaited, on what an AsyncClient takes."""

    def __init__(self, connection: object, *, schema: str | None = None) -> None:
        super().__init__(schema)
        self._link = AsyncLink(connection)

    async def start(self) -> Self:
        """As Clock.start."""
        await self._link.perform(self._start(), len(_PARTS) + 1)
        return self

    async def follow(self, connection: object) -> None:
        """As Clock.follow."""
        async with AsyncLink(connection) as link:
            await link.perform(self._follow(), 1)

    async def now(self) -> datetime:
        """As Clock.now."""
        return await self._link.perform(server_now(), 1)

    async def advance(self, by: timedelta) -> None:
        """As Clock.advance."""
        await self._link.perform(self._advance(by), 1)

    async def set(self, instant: datetime) -> None:
        """As Clock.set."""
        await self._link.perform(self._set(instant), 1)
