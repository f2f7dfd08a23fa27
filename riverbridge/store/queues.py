"""River's queue rows, and how full the queues are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from riverbridge.sql import statement
from riverbridge.store.database import Connection


class Depth(msgspec.Struct, frozen=True):
    """Due jobs of a queue: how many (up to the limit of the count), the oldest's age in seconds."""

    jobs: int
    oldest_seconds: float


class QueueTable:
    """`river_queue`, and counts over `river_job` by queue."""

    def __init__(self, schema: str | None) -> None:
        self._sql = {
            name: statement(f"queue/{name}", schema)
            for name in ("upsert", "paused", "depth", "unmatched", "strangers", "waiting")
        }

    def upsert(self, connection: Connection, names: Sequence[str]) -> None:
        """Make the rows that are missing and refresh the others (contract 3.12)."""
        connection.execute(self._sql["upsert"], {"names": list(names)})

    def paused(self, connection: Connection, names: Sequence[str]) -> set[str]:
        """Which of `names` are paused."""
        rows = connection.execute(self._sql["paused"], {"names": list(names)})
        return {name for (name,) in rows.fetchall()}

    def waiting(self, connection: Connection) -> list[str]:
        """The queues that have available jobs, due or not."""
        return [name for (name,) in connection.execute(self._sql["waiting"]).fetchall()]

    def depth(self, connection: Connection, queue: str, limit: int = 100_000) -> Depth:
        """The due jobs of `queue`, counted up to `limit`."""
        row = connection.execute(self._sql["depth"], {"queue": queue, "limit": limit}).fetchone()
        return Depth(0, 0.0) if row is None else Depth(row[1], row[2])

    def unmatched(
        self, connection: Connection, queue: str, kinds: Sequence[str], limit: int = 100_000
    ) -> Depth:
        """Of the next `limit` due jobs of `queue`, those whose kind matches none of `kinds`."""
        row = connection.execute(
            self._sql["unmatched"], {"queue": queue, "kinds": list(kinds), "limit": limit}
        ).fetchone()
        return Depth(0, 0.0) if row is None else Depth(*row)

    def strangers(self, connection: Connection, queues: Sequence[str]) -> dict[str, list[str]]:
        """Owners other than riverbridge seen on `queues` lately, by queue."""
        found: dict[str, list[str]] = {}
        for queue, owner in connection.execute(
            self._sql["strangers"], {"queues": list(queues)}
        ).fetchall():
            found.setdefault(queue, []).append(owner)
        return found
