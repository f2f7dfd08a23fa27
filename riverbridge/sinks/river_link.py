"""A connection to another River's database: batches in, each in a transaction of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

import psycopg
from psycopg.pq import TransactionStatus

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.model.options import NewJob
from riverbridge.model.outcome import Misconfigured, Outcome, Permanent, Retry, Unreachable
from riverbridge.sinks.kept_connection import readable
from riverbridge.store.database import Connect, Connection, cut, lost, refused, transaction
from riverbridge.store.exchange import carry_out, sqlstate
from riverbridge.store.insert import all_taken, insert_many_fast

SOONEST = 0.001
"""Seconds: the shortest time limit that Postgres has."""
IDLE_LIMIT = 5.0
"""Seconds after which the server ends a transaction whose client has fallen silent."""

_TLS = (
    *("certificate verify failed", "does not support SSL", "does not match host name"),
    *("protocol version", "unsupported protocol"),  # the server knows no TLS that is new enough
)
_SETUP = ("28", "3D", "3F", "42", "25006")
"""SQLSTATEs of rights, tables and names, and of a standby: nothing that one job is to blame for."""
_ABSENT = ("08", "53", "57")
"""A connection lost, no room for one more, a server that stops, a statement without an answer."""
_ROW = ("22", "23", "54")
"""Values, constraints, limits: as this row is, it will never be taken."""

Stage = Literal["waiting", "connecting", "inserting", "committing"]


class TooLate(Exception):
    """Nothing was sent: the deadline has passed, or the sink is closed."""


class LeftOut(Exception):
    """A row is not there after its insert: a trigger of the table's owner took it away."""


class Link:
    """One kept connection, for one thread; only `abort` may be called by another."""

    def __init__(self, connect: Connect, schema: str | None, closing: threading.Event) -> None:
        self._connect = connect
        self._schema = schema
        self._closing = closing
        self._connection: Connection | None = None
        self.stage: Stage = "waiting"
        """How far `insert` has come. Until it commits, nothing of it is there."""

    def insert(self, rows: Sequence[NewJob], queues: Sequence[str], deadline: float) -> None:
        """Insert `rows` whose keys are not taken, and announce `queues`; all or none of it.

        Raises TooLate, and what `judged` knows the meaning of: LeftOut and psycopg.Error.
        """
        self.stage = "connecting"
        connection = self._connected()
        left = deadline - time.monotonic()
        if left < SOONEST or self._closing.is_set():
            raise TooLate
        self.stage = "inserting"
        with transaction(connection, idle=IDLE_LIMIT, total=left, statement=left):
            run = partial(send, connection)
            schema = self._schema
            inserted = carry_out(insert_many_fast(rows, queues=queues, schema=schema), run)
            if inserted < len(rows) and not carry_out(all_taken(rows, schema=schema), run):
                raise LeftOut
            self.stage = "committing"

    def judged(self, error: psycopg.Error | LeftOut) -> tuple[Outcome, bool]:
        """What `error`, which `insert` raised, means; and whether a single row may be at fault."""
        if isinstance(error, LeftOut):
            return Retry("not inserted: a trigger on river_job left the row out"), True
        if self.stage == "connecting":
            text = " ".join(str(error).split())  # a line for each address
            wrong = refused(error) or any(words in text for words in _TLS)
            return (Misconfigured if wrong else Unreachable)(f"no connection: {text}"), False
        text = str(error).partition("\n")[0]  # the others may quote the row
        if self._connection is None or lost(self._connection):
            return unanswered(self.stage, text), False
        code = sqlstate(error) or ""
        if code.startswith(_SETUP):
            return Misconfigured(text), False
        if code.startswith(_ABSENT):
            return unanswered("inserting", text), False
        return (Permanent if code.startswith(_ROW) else Retry)(f"not inserted: {text}"), True

    def abort(self) -> None:
        """End what is under way, from another thread; `insert` raises soon."""
        connection = self._connection
        if connection is not None:
            cut(connection)

    def close(self) -> None:
        """Close the connection; the next `insert` makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _connected(self) -> Connection:
        if self._connection is not None and not _is_fit(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection


def _is_fit(connection: Connection) -> bool:
    idle = connection.info.transaction_status is TransactionStatus.IDLE
    return idle and not readable(connection)


def unanswered(stage: Stage, why: str) -> Outcome:
    """What becomes of rows whose `insert` ended at `stage`."""
    if stage == "committing":
        return Retry(f"no answer to the commit: {why}", ambiguous=True)
    return Unreachable(f"not inserted: {why}")
