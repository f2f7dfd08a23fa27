"""What an ordered route asks of the database: whose turn it is, and its jobs by id.

All calls run inside a transaction that the caller has opened.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from riverbridge.model.job import ClaimedJob
from riverbridge.sql import statement
from riverbridge.store.database import Connection


class Owner(NamedTuple):
    """Whose an ordered route is. `stale`: a sign of life is due. `free`: another may take it."""

    id: str | None
    term: int
    stale: bool
    free: bool


class Read(msgspec.Struct, frozen=True):
    """A stretch of rows by id: the route's jobs among them, and the ids that nobody has.

    cursor: where it ended. count: how many rows it was, whosever they are.
    """

    jobs: list[ClaimedJob]
    missing: list[tuple[int, int]]
    cursor: int
    count: int


class Standing(NamedTuple):
    """What became of a job that kept its key. `ready`: to be claimed now. `out`: at work. `soon`:
    available, and only not due yet."""

    ready: bool
    out: bool
    soon: bool = False


class OrderTable:
    """The jobs of one route and queue. `client` is the owner's name."""

    def __init__(
        self,
        schema: str | None,
        client: str,
        *,
        route: str,
        queue: str,
        kinds: Sequence[str],
        taken: bool = True,
    ) -> None:
        """kinds, taken: LIKE patterns, and whether a kind must match one of them or none."""
        self.client = client
        self.route = route
        self._route = {"schema": schema, "route": route, "owner": client}
        self._mine = {"queue": queue, "kinds": list(kinds), "taken": taken}
        self._sql = {
            name: statement(f"order/{name}", schema)
            for name in (
                *("try", "owner", "own", "beat", "horizon", "writers", "read", "late", "sweep"),
                *("rows", "held", "poll", "claim"),
            )
        }

    def lock(self, connection: Connection, share: int) -> bool:
        """Take the right to serve a share until the transaction ends, if nobody has it."""
        row = connection.execute(self._sql["try"], self._route | {"share": share}).fetchone()
        return row is not None and bool(row[0])

    def owner(self, connection: Connection, *, beat: float, silence: float) -> Owner:
        """Whose the route is. beat, silence: seconds since the owner's last sign of life."""
        given = self._route | {"beat": beat, "silence": silence}
        row = connection.execute(self._sql["owner"], given).fetchone()
        return Owner(None, 0, True, True) if row is None else Owner(*row)

    def own(self, connection: Connection) -> int:
        """Take the route, under the locks of all shares; returns the term that begins."""
        row = connection.execute(self._sql["own"], self._route).fetchone()
        assert row is not None  # the statement always returns a row
        return int(row[0])

    def beat(self, connection: Connection) -> None:
        """Say that the owner still serves the route."""
        connection.execute(self._sql["beat"], self._route)

    def horizon(self, connection: Connection) -> tuple[int, int]:
        """The highest id, and the oldest open transaction."""
        row = connection.execute(self._sql["horizon"]).fetchone()
        assert row is not None  # the statement always returns a row
        return row[0], row[1]

    def writers(self, connection: Connection) -> frozenset[str]:
        """The open transactions that may have inserted jobs."""
        return frozenset(name for (name,) in connection.execute(self._sql["writers"], self._route))

    def read(self, connection: Connection, *, cursor: int, limit: int) -> Read:
        """The next `limit` rows after `cursor`."""
        given = self._mine | {"cursor": cursor, "limit": limit}
        rows = connection.execute(self._sql["read"], given, binary=True).fetchall()
        jobs, missing = [], []
        for *columns, mine, before, _ in rows:
            cursor = columns[0]
            if before:
                missing.append((cursor - before, cursor - 1))
            if mine:
                jobs.append(ClaimedJob(*columns))
        return Read(jobs, missing, cursor, rows[-1][-1] if rows else 0)

    def late(
        self, connection: Connection, ranges: Sequence[tuple[int, int]], limit: int
    ) -> list[ClaimedJob]:
        """Up to `limit` jobs that are there now in these ranges of ids, both ends included."""
        given = self._mine | {
            "lows": [low for low, _ in ranges],
            "highs": [high for _, high in ranges],
            "limit": limit,
        }
        return self._jobs(connection, "late", given)

    def sweep(
        self, connection: Connection, *, cursor: int, since: int, lately: float | None = None
    ) -> list[int]:
        """The ids up to `cursor` that became available since then (`horizon`), in their order.

        lately: only those that are due for no more than so many seconds; all others are not read.
        """
        given = self._mine | {"cursor": cursor, "since": since, "lately": lately}
        rows = connection.execute(self._sql["sweep"], given, binary=True).fetchall()
        return [id_ for (id_,) in rows]

    def rows(
        self, connection: Connection, ids: Sequence[int], *, every: bool = False
    ) -> list[ClaimedJob]:
        """Those of `ids` that are available, or every one of them, by id; nothing is locked."""
        return self._jobs(connection, "rows", self._mine | {"ids": list(ids), "all": every})

    def held(self, connection: Connection) -> list[int]:
        """The ids of the jobs that keep their key from others."""
        rows = connection.execute(self._sql["held"], self._mine, binary=True).fetchall()
        return [id_ for (id_,) in rows]

    def poll(self, connection: Connection, ids: Collection[int]) -> dict[int, Standing]:
        """Of `ids`, those that still keep their key from others."""
        given = self._mine | {"ids": list(ids)}
        rows = connection.execute(self._sql["poll"], given, binary=True).fetchall()
        return {id_: Standing(*standing) for id_, *standing in rows}

    def claim(
        self, connection: Connection, ids: Sequence[int], *, byte_budget: int
    ) -> list[ClaimedJob]:
        """Lock those of `ids` that can be had, in that order, until `byte_budget` is full."""
        return self._jobs(
            connection, "claim", self._mine | {"ids": list(ids), "bytes": byte_budget}
        )

    def _jobs(
        self, connection: Connection, name: str, given: dict[str, object]
    ) -> list[ClaimedJob]:
        rows = connection.execute(self._sql[name], given, binary=True).fetchall()
        return [ClaimedJob(*row) for row in rows]
