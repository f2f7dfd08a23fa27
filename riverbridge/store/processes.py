"""Our own record of the processes that work on a database, and of the routes they ran."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from riverbridge.sql import statement
from riverbridge.store.database import Connection


class ProcessRecord(msgspec.Struct, frozen=True):
    """A record that a clean stop would have removed. `silent`: not heard of for the given time."""

    id: str
    host: str
    pid: int
    silent: bool


class ProcessTable:
    """The table `riverbridge_process`; `id` is this process's own."""

    def __init__(self, schema: str | None, *, id: str, host: str, pid: int, version: str) -> None:
        self.id = id
        self._me = {"id": id, "host": host, "pid": pid, "version": version}
        self._sql = {
            name: statement(f"process/{name}", schema)
            for name in ("beat", "dead", "crashed", "forget", "first_start")
        }

    def beat(self, connection: Connection, queues: Sequence[str]) -> None:
        """Say that this process lives and which queues it serves."""
        connection.execute(self._sql["beat"], self._me | {"queues": list(queues)})

    def dead(self, connection: Connection, silence: float) -> dict[str, list[str]]:
        """Processes silent for `silence` seconds, each with the queues it served."""
        rows = connection.execute(self._sql["dead"], {"silence": silence, "id": self.id})
        return dict(rows.fetchall())

    def crashed(self, connection: Connection, silence: float) -> list[ProcessRecord]:
        """All records but our own."""
        rows = connection.execute(self._sql["crashed"], {"silence": silence, "id": self.id})
        return [ProcessRecord(*row) for row in rows.fetchall()]

    def forget(self, connection: Connection, ids: Sequence[str]) -> set[str]:
        """Remove the records of `ids` and of what has been silent for a day; returns the removed.

        A record whose process still holds leases stays: by it alone they are found.
        """
        rows = connection.execute(self._sql["forget"], {"ids": list(ids)})
        return {id_ for (id_,) in rows.fetchall()}

    def first_start(self, connection: Connection, route: str) -> datetime:
        """When `route` first ran on this database; now, if it never did."""
        row = connection.execute(self._sql["first_start"], {"name": route}).fetchone()
        assert row is not None  # the statement always returns a row
        started: datetime = row[0]
        return started
