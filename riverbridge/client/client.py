"""The synchronous insert client.

Each insert is checked whole, then sent: rows and notification in one transaction, either the
client's own or one that the caller has open.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

from riverbridge.client.adapters.choose import joined, source
from riverbridge.client.batch import checked
from riverbridge.errors import ClientError
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import InsertManyParams, InsertOpts, InsertResult
from riverbridge.store.exchange import Exchange, carry_out
from riverbridge.store.insert import CHUNK, insert_many

T = TypeVar("T")


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
        connection: object,
        *,
        schema: str | None = None,
    ) -> None:
        """Open nothing yet. Raises ConfigurationError for a DSN or schema that cannot work."""
        if schema:
            check_schema_name(schema)
        self._schema = schema or None
        self._source = source(connection)
        self._closed = False

    def insert(self, args: object, opts: InsertOpts | None = None) -> InsertResult:
        """Insert one job in a transaction of its own; when this returns it is committed.

        Raises ClientError if the connection given has a transaction open: then use `insert_tx`.
        """
        return self.insert_many([InsertManyParams(args, opts)])[0]

    def insert_tx(self, tx: object, args: object, opts: InsertOpts | None = None) -> InsertResult:
        """Insert one job in the transaction open on `tx`; it exists once the caller commits.

        Raises ClientError if `tx` is in autocommit with no transaction open.
        """
        return self.insert_many_tx(tx, [InsertManyParams(args, opts)])[0]

    def insert_many(self, jobs: Sequence[object]) -> list[InsertResult]:
        """Insert `jobs`, each args or InsertManyParams, in one transaction: all of them or none.

        Results come in the order of `jobs`. Raises InvalidJob if there are none.
        """
        new = checked(jobs)
        return self._perform(
            insert_many(new, schema=self._schema), statements=1 + len(new) // CHUNK
        )

    def insert_many_tx(self, tx: object, jobs: Sequence[object]) -> list[InsertResult]:
        """As `insert_many`, in the transaction open on `tx`."""
        return self._perform_tx(tx, insert_many(checked(jobs), schema=self._schema))

    def close(self) -> None:
        """Close the client's own connection, if it has one. May be called again."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _perform(self, exchange: Exchange[T], *, statements: int = 1) -> T:
        """Run an operation in a transaction of its own; when this returns it is committed.

        statements: how many it may send, which bounds its time on a connection of the client's own.
        """
        if self._closed:
            raise ClientError("the client is closed: make another")
        return self._source.perform(exchange, statements)

    def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T:
        """Run an operation in the transaction open on `tx`, which it neither commits nor ends."""
        return carry_out(exchange, joined(tx))
