"""The Postgres source does what every source has to do, with messages in transactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pytest

from riverbridge.sources.base import Source
from riverbridge.sources.postgres import PostgresSource
from riverbridge.sources.postgres_server import Wanted
from riverbridge.testing.source_conformance import SOURCE, SourceConformance
from riverbridge.testing.source_harness import SourceHarness
from tests.support.database import Database, new_name
from tests.support.wait import eventually

PART = 12
"""Events of a transaction: no divisor of the size of a batch, which then ends in its middle."""


class PostgresHarness(SourceHarness):
    remembers = False

    def __init__(self, database: Database) -> None:
        self.dsn = database.dsn
        self.slot = new_name("slot")
        self._begun = False

    def open(self) -> Source:
        self._begin()
        return self._source()

    def send(self, bodies: Sequence[bytes]) -> None:
        self._begin()
        with psycopg.connect(self.dsn) as connection:
            for number, body in enumerate(bodies, 1):
                connection.execute(
                    "SELECT pg_logical_emit_message(true, 'letters', %b::bytea)", (body,)
                )
                if number % PART == 0:
                    connection.commit()

    def drop(self) -> None:
        query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            eventually(lambda: connection.execute(query, [self.slot]).fetchone() in (None, (None,)))
            if connection.execute(query, [self.slot]).fetchone():
                connection.execute("SELECT pg_drop_replication_slot(%s)", [self.slot])

    def _source(self) -> PostgresSource:
        wanted = Wanted(self.slot, "conformance", prefixes=["letters"])
        return PostgresSource(
            name=SOURCE, url=self.dsn, wanted=wanted, mark_after=0.2, retry_after=0.2
        )

    def _begin(self) -> None:
        """Make the slot: what was committed before is none of its."""
        if not self._begun:
            self._begun = True
            source = self._source()
            assert source.starts(source.unplaced(), ())
            source.close()


class TestPostgresSource(SourceConformance):
    @pytest.fixture
    def harness(self, tables: Database) -> Iterator[SourceHarness]:
        harness = PostgresHarness(tables)
        try:
            yield harness
        finally:
            harness.drop()
