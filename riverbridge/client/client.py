"""The synchronous insert client.

Each insert is checked whole, then sent: rows and notification in one transaction, either the
client's own or one that the caller has open.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from riverbridge.errors import ClientError, InvalidJob
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import (
    InsertManyParams,
    InsertOpts,
    InsertResult,
    NewJob,
    new_job,
)
from riverbridge.store.database import GONE, Connection, connector, lost, transaction
from riverbridge.store.dsn import parse_dsn
from riverbridge.store.insert import CHUNK, insert_jobs
from riverbridge.store.limits import cut_after

STATEMENT_LIMIT = 10.0
"""Seconds for one statement on a connection of the client's own."""

IDLE_LIMIT = 5.0
"""Seconds after which the server ends an own transaction whose client has fallen silent."""


class Client:
    """Inserts jobs for River's workers.

    connection: an open psycopg connection, which stays the caller's; or a DSN, or a function that
    opens a connection: then the client keeps one connection of its own, opened at the first insert
    and closed by `close()`. schema: where River's tables are; None leaves it to the search path.

    Threads may share a client; its own inserts take turns. Arguments are checked before anything is
    sent: InvalidJob says what is wrong with which job. What the database refuses is raised as
    psycopg raises it.

    A connection of its own that turns out to be lost when a transaction is begun is opened again,
    once. Later than that nothing is ever sent again: psycopg.OperationalError from `insert` or
    `insert_many` means that the jobs may have been committed, all of them, or not, none of them.
    Inserting again may then make them twice.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any] | str | Callable[[], Connection],
        *,
        schema: str | None = None,
    ) -> None:
        """Open nothing yet. Raises ConfigurationError for a DSN or schema that cannot work."""
        if schema:
            check_schema_name(schema)
        self._schema = schema or None
        self._given: psycopg.Connection[Any] | None = None
        self._own: Connection | None = None
        self._closed = False
        self._turn = threading.Lock()
        if isinstance(connection, psycopg.Connection):
            self._given = connection
        elif isinstance(connection, str):
            parse_dsn(connection)
            self._connect = connector(connection)
        elif callable(connection):
            self._connect = connection
        else:
            raise ClientError(
                f"connection: a {type(connection).__name__} cannot be used: give a psycopg "
                "connection, a DSN or a function that opens a connection"
            )

    def insert(self, args: object, opts: InsertOpts | None = None) -> InsertResult:
        """Insert one job in a transaction of its own; when this returns it is committed.

        Raises ClientError if the connection given has a transaction open: then use `insert_tx`.
        """
        return self._insert([new_job(args, opts)])[0]

    def insert_tx(
        self,
        tx: psycopg.Connection[Any] | psycopg.Cursor[Any],
        args: object,
        opts: InsertOpts | None = None,
    ) -> InsertResult:
        """Insert one job in the transaction open on `tx`; it exists once the caller commits.

        Raises ClientError if `tx` is in autocommit with no transaction open.
        """
        return self._insert_tx(tx, [new_job(args, opts)])[0]

    def insert_many(self, jobs: Sequence[object]) -> list[InsertResult]:
        """Insert `jobs`, each args or InsertManyParams, in one transaction: all of them or none.

        Results come in the order of `jobs`. Raises InvalidJob if there are none.
        """
        return self._insert(_checked(jobs))

    def insert_many_tx(
        self, tx: psycopg.Connection[Any] | psycopg.Cursor[Any], jobs: Sequence[object]
    ) -> list[InsertResult]:
        """As `insert_many`, in the transaction open on `tx`."""
        return self._insert_tx(tx, _checked(jobs))

    def close(self) -> None:
        """Close the client's own connection, if it has one. May be called again."""
        with self._turn:
            self._closed = True
            if self._own is not None:
                self._own.close()
                self._own = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _insert(self, jobs: Sequence[NewJob]) -> list[InsertResult]:
        with self._turn:
            if self._closed:
                raise ClientError("the client is closed: make another")
            begun = self._begun(len(jobs)) if self._given is None else _begun_on(self._given)
            with begun as connection:
                return self._send(connection, jobs)

    def _insert_tx(
        self, tx: psycopg.Connection[Any] | psycopg.Cursor[Any], jobs: Sequence[NewJob]
    ) -> list[InsertResult]:
        connection = tx.connection if isinstance(tx, psycopg.Cursor) else tx
        if not isinstance(connection, psycopg.Connection):
            raise ClientError(
                f"tx: a {type(tx).__name__} cannot be used: give a psycopg connection or cursor"
            )
        idle = connection.info.transaction_status is TransactionStatus.IDLE
        if idle and connection.autocommit:
            raise ClientError(
                "tx: no transaction is open and the connection is in autocommit: "
                "open one with `with connection.transaction():`, or use insert"
            )
        return self._send(connection, jobs)

    def _send(
        self, connection: psycopg.Connection[Any], jobs: Sequence[NewJob]
    ) -> list[InsertResult]:
        return [InsertResult(job) for job in insert_jobs(connection, jobs, schema=self._schema)]

    @contextlib.contextmanager
    def _begun(self, jobs: int) -> Iterator[Connection]:
        """A transaction on the client's own connection, committed at the end of the block."""
        limit = STATEMENT_LIMIT * (2 + jobs // CHUNK)
        try:
            stack, connection = self._begin(limit)
        except GONE:
            if self._own is None or not lost(self._own):
                raise
            # Only BEGIN was sent, on a connection that had died unnoticed.
            stack, connection = self._begin(limit)
        with stack:
            yield connection

    def _begin(self, limit: float) -> tuple[contextlib.ExitStack, Connection]:
        """Begin a transaction of at most `limit` seconds; leaving the stack commits it."""
        connection = self._connected()
        with contextlib.ExitStack() as stack:
            stack.enter_context(cut_after(connection, limit))
            stack.enter_context(
                transaction(connection, idle=IDLE_LIMIT, total=limit, statement=STATEMENT_LIMIT)
            )
            return stack.pop_all(), connection

    def _connected(self) -> Connection:
        if self._own is not None:
            if self._own.info.transaction_status is TransactionStatus.IDLE:
                return self._own
            # Lost, or interrupted in the middle of a transaction: nothing of it may go on.
            self._own.close()
            self._own = None
        connection = self._connect()
        if not connection.autocommit:
            connection.autocommit = True
        self._own = connection
        return connection


@contextlib.contextmanager
def _begun_on(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A transaction on the caller's connection, under the caller's own time limits."""
    if connection.info.transaction_status in (
        TransactionStatus.INTRANS,
        TransactionStatus.INERROR,
        TransactionStatus.ACTIVE,
    ):
        # A savepoint would do, but the job would vanish with a transaction never committed.
        raise ClientError(
            "the connection has a transaction open: use insert_tx to join it, or end it first"
        )
    with connection.transaction():
        yield connection


def _checked(jobs: Sequence[object]) -> list[NewJob]:
    if not jobs:
        raise InvalidJob("no jobs to insert: give at least one")
    checked = []
    for number, job in enumerate(jobs, 1):
        args, opts = (job.args, job.opts) if isinstance(job, InsertManyParams) else (job, None)
        checked.append(new_job(args, opts, where=f"job {number} of {len(jobs)}: "))
    return checked
