"""A database with tables whose changes are read, and what reads them into jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.base import Bounds
from riverbridge.sources.postgres import PostgresSource
from riverbridge.sources.postgres_server import Wanted
from riverbridge.store.database import connector
from tests.ingest.rows import args_of, positions
from tests.support.database import Database, new_name
from tests.support.running import running
from tests.support.wait import eventually

SOURCE = "events"


class Shop:
    """The database of an application. River's tables are in it too, or in `jobs`."""

    def __init__(self, database: Database, jobs: Database | None = None) -> None:
        self.database = database
        self.jobs = jobs or database
        self.slot = new_name("slot")
        self.publication = f"{self.slot}_pub"
        self.tables: tuple[str, ...] = ()
        self.prefixes: tuple[str, ...] = ()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Carry out, each in a transaction of its own; the rows of the last."""
        with self.database.connect(client_encoding="UTF8") as connection:
            for text in statements:
                cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def source(self, **options: Any) -> PostgresSource:
        wanted = Wanted(self.slot, self.publication, self.tables, self.prefixes)
        given: dict[str, Any] = {"url": self.database.dsn, "mark_after": 0.2, "retry_after": 0.2}
        given |= options
        return PostgresSource(name=SOURCE, wanted=wanted, **given)

    def receiver(self, intake: Intake | None = None, **options: Any) -> Receiver:
        intake = intake or Intake(Mapper(SOURCE, Plan(kind="event")), Bounds(seconds=0.05))
        return Receiver(
            SOURCE,
            lambda: self.source(**options),
            intake,
            connect=connector(self.jobs.dsn),
        )

    @contextmanager
    def receiving(self, intake: Intake | None = None, **options: Any) -> Iterator[Receiver]:
        """options: how the source is opened."""
        receiver = self.receiver(intake, **options)
        with running(receiver):
            yield receiver

    def begin(self) -> None:
        """Have the publication and the slot made, from where changes count."""
        with self.receiving():
            eventually(lambda: positions(self.jobs), within=20)

    def args(self) -> list[Any]:
        return args_of(self.jobs)

    def held(self) -> int:
        """The bytes of WAL that the server keeps for the slot."""
        [(held,)] = self.run(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint"
            f" FROM pg_replication_slots WHERE slot_name = '{self.slot}'"
        )
        return int(held)

    def drop_slot(self) -> None:
        eventually(lambda: not self._active(), within=10)
        self.run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            f" WHERE slot_name = '{self.slot}'"
        )

    def _active(self) -> bool:
        query = f"SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = '{self.slot}'"
        return bool(self.run(query))
