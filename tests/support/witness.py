"""A second connection to a database, which sees only what was committed."""

from __future__ import annotations

from typing import Any

import psycopg


class Witness:
    """Counts rows and hears notifications."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        connection.execute('LISTEN "public.river_insert"')

    def jobs(self) -> int:
        row = self.connection.execute("SELECT count(*) FROM river_job").fetchone()
        assert row is not None
        return int(row[0])

    def others(self) -> int:
        """How many connections there are beside this one."""
        row = self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def heard(self) -> list[str]:
        """All that was sent until now; a marker of our own shows that nothing is on its way."""
        self.connection.execute("SELECT pg_notify('public.river_insert', 'end')")
        payloads: list[str] = []
        for notice in self.connection.notifies(timeout=10):
            if notice.payload == "end":
                return payloads
            payloads.append(notice.payload)
        raise AssertionError("the marker was not heard within 10 s")
