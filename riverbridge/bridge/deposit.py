"""One batch of events becomes rows, all in one transaction.

    BEGIN
      move the positions on, from where they were expected     (sources with a position)
      enter the events into the inbox                          (sources that remember events)
      insert the jobs, each with the event's digest as its unique key, and notify
      put what cannot become a job into quarantine
    COMMIT

Exactly one job for each event, whoever else does the same at the same time:

- Two processes that both believe to own a partition expect the same position. The second to move it
  waits for the first, then finds another position than it expected, and commits nothing.
- Of two that bring the same event, the second waits at the inbox, or at the unique key, and leaves
  the event out.
- A COMMIT whose answer was lost either happened or did not. The batch is done again from what is
  stored, with the same result.

A row that the database refuses fails the statement, and with it the transaction. It is then
repeated under savepoints, by halves, and the row at fault goes into quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import psycopg

from riverbridge.bridge.kept import lying
from riverbridge.bridge.mapping import Mapped, Mapper
from riverbridge.model.options import NewJob
from riverbridge.model.text import error_text
from riverbridge.sql import statement
from riverbridge.store import ingest
from riverbridge.store.database import Connection, lost, transaction
from riverbridge.store.exchange import Query, Rows, carry_out
from riverbridge.store.insert import insert_many_fast, to_announce

IDLE, TOTAL = 5.0, 30.0
"""Seconds that a frozen process may keep others from its partitions, and of a whole transaction."""

_ROW_AT_FAULT = ("22", "23", "54", "P0")
"""Classes of SQLSTATE that a row is to blame for: its data, a constraint, a limit, a trigger. Any
other error (rights, disk, time) would befall every row, and none may be sent away for it."""


class Moved(Exception):
    """A position was not where it was expected: nothing was committed."""


class Deposited(msgspec.Struct, frozen=True):
    """What one batch came to. duplicates: events that were jobs before. skipped: passed over."""

    jobs: int = 0
    duplicates: int = 0
    quarantined: int = 0
    skipped: int = 0


class Depositor:
    """Writes the batches of one source. remember: how long the inbox keeps events, if at all."""

    def __init__(
        self, mapper: Mapper, *, remember: timedelta | None = None, schema: str | None = None
    ) -> None:
        self.mapper = mapper
        self._source = mapper.source
        self._keep = remember
        self.schema = schema

    def write(
        self,
        connection: Connection,
        batch: Sequence[Mapped],
        steps: Mapping[str, tuple[str, str]],
    ) -> Deposited:
        """Commit `batch`, and with it `steps`: each partition's expected position and the next.

        Raises Moved, and what psycopg raises; then nothing was committed, unless it was the answer
        to COMMIT that was lost.
        """
        try:
            with self._moving(connection, steps):
                return self.put(connection, batch)
        except psycopg.Error as error:
            if lost(connection) or not row_at_fault(error):
                raise
        with self._moving(connection, steps):
            return self._put_by_halves(connection, batch)

    @contextmanager
    def _moving(
        self, connection: Connection, steps: Mapping[str, tuple[str, str]]
    ) -> Iterator[None]:
        with transaction(connection, idle=IDLE, total=TOTAL):
            if steps and not ingest.advance(connection, self._source, steps, schema=self.schema):
                raise Moved
            yield

    def put(self, connection: Connection, batch: Sequence[Mapped]) -> Deposited:
        """Write `batch` in the caller's transaction. Raises what psycopg raises."""
        batch = [one for one in batch if not one.event.mark]
        skipped = sum(1 for one in batch if one.job is None and not one.reason)
        wanted = {one.digest: one for one in batch if one.job is not None or one.reason}
        new = self._unknown(connection, wanted)
        jobs = [one.job for one in new if one.job is not None]
        inserted = self._insert(connection, jobs) if jobs else 0
        bad = [one for one in new if one.job is None]
        if bad:
            self._quarantine(connection, bad)
        duplicates = len(batch) - skipped - inserted - len(bad)
        return Deposited(inserted, duplicates, len(bad), skipped)

    def _unknown(self, connection: Connection, wanted: Mapping[bytes, Mapped]) -> list[Mapped]:
        """Those that the inbox did not have."""
        if self._keep is None or not wanted:
            return list(wanted.values())
        new = ingest.remember(
            connection, self._source, list(wanted), keep=self._keep, schema=self.schema
        )
        return [one for digest, one in wanted.items() if digest in new]

    def _insert(self, connection: Connection, jobs: Sequence[NewJob]) -> int:
        def run(query: Query) -> Rows:
            sql = statement(query.name, query.schema)
            return connection.execute(sql, query.parameters).fetchall()

        return carry_out(insert_many_fast(jobs, queues=to_announce(jobs), schema=self.schema), run)

    def _quarantine(self, connection: Connection, bad: Sequence[Mapped]) -> None:
        events = {one.digest: lying(self._source, one.event, one.reason) for one in bad}
        ingest.quarantine(connection, events, schema=self.schema)

    def _put_by_halves(self, connection: Connection, batch: Sequence[Mapped]) -> Deposited:
        connection.execute(b"SAVEPOINT part")
        try:
            done = self.put(connection, batch)
        except psycopg.Error as error:
            if lost(connection) or not row_at_fault(error):
                raise
            connection.execute(b"ROLLBACK TO part")
            if len(batch) == 1:
                [one] = batch
                return self.put(connection, [self.mapper.unfit(one.event, refusal(error))])
            middle = len(batch) // 2
            first = self._put_by_halves(connection, batch[:middle])
            return _sum(first, self._put_by_halves(connection, batch[middle:]))
        connection.execute(b"RELEASE part")
        return done


def row_at_fault(error: psycopg.Error) -> bool:
    """Whether a row is to blame, and not the database as a whole."""
    return (error.sqlstate or "")[:2] in _ROW_AT_FAULT


def refusal(error: psycopg.Error) -> str:
    """Why the database did not take a row, for the quarantine."""
    return error_text("refused by the database: " + str(error).partition("\n")[0])


def _sum(one: Deposited, other: Deposited) -> Deposited:
    return Deposited(
        *(
            a + b
            for a, b in zip(
                msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True
            )
        )
    )
