"""The synchronous client.

Each insert is checked whole, then sent: rows and notification in one transaction, either the
client's own or one that the caller has open. `AsyncClient` is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TypeVar

from riverbridge.client.adapters.base import broken, is_broken
from riverbridge.client.adapters.choose import joined, source
from riverbridge.client.administration import JobAdministration
from riverbridge.client.announcing import Announcements
from riverbridge.client.batch import InsertHook, InsertMiddleware, Preparation, around, only
from riverbridge.errors import ClientError
from riverbridge.model.args import JobArgs
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import (
    InsertManyParams,
    InsertOpts,
    InsertResult,
    NewJob,
    either_opts,
)
from riverbridge.store.exchange import Exchange, carry_out
from riverbridge.store.insert import (
    insert_alike,
    insert_many,
    insert_many_fast,
    statements,
)

T = TypeVar("T")


class Client(JobAdministration):
    """Inserts jobs for River's workers, and looks after jobs and queues (`JobAdministration`).

    connection: what the application has: a psycopg, psycopg2 or Django connection, a psycopg pool,
    or a SQLAlchemy Engine, Connection or Session, each of which stays the caller's, with its time
    limits. Or a DSN, or a function that opens a psycopg connection: then the client keeps one
    connection of its own, opened at the first use and closed by `close()`. schema: where River's
    tables are; None leaves it to the search path. defaults: options where neither the call nor the
    args say. insert_hooks, insert_middleware: see there. now: the clock that periods of unique jobs
    go by, an aware instant; this machine's unless given.

    Threads may share a client as far as they may share `connection`; where it is one connection the
    client's own transactions take turns. Arguments are checked before anything is sent: InvalidJob
    says what is wrong with which job, ClientError what is wrong with the connection or transaction.
    What the database refuses is raised as the driver raises it.

    A connection of its own that is found lost before anything is sent is opened again. Later than
    that nothing is ever sent again: psycopg.OperationalError from `insert` or `insert_many` means
    that the jobs may have been committed, all of them, or not, none of them. Inserting again may
    then make them twice. Only its subclass QueryCanceled, after 10 s, says that they were not.

    River's workers are notified at most once per 100 ms and queue; `announcing` says why.

    Each method takes a transaction of its own and has committed when it returns. Its twin with
    `_tx` joins the transaction open on `tx`, a connection or session of the kinds above, and never
    commits: what it did is there once the caller commits, and the notification is sent then.
    """

    def __init__(
        self,
        connection: object,
        *,
        schema: str | None = None,
        defaults: InsertOpts | None = None,
        insert_hooks: Sequence[InsertHook] = (),
        insert_middleware: Sequence[InsertMiddleware] = (),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Open nothing yet.

        Raises ClientError for a connection and ConfigurationError for a DSN or schema that cannot
        work.
        """
        if schema:
            check_schema_name(schema)
        self._schema = schema or None
        self._source = source(connection)
        self._preparation = Preparation(defaults, insert_hooks, now)
        self._middleware = tuple(insert_middleware)
        # Apart, as what joins a transaction may yet be rolled back with it.
        self._announcements, self._announcements_tx = Announcements(), Announcements()
        self._closed = False

    def insert(
        self,
        args: JobArgs,
        opts: InsertOpts | None = None,
        *,
        insert_opts: InsertOpts | None = None,
    ) -> InsertResult:
        """Insert one job. opts and insert_opts are two names for one thing."""
        job = self._preparation.job(args, either_opts(opts, insert_opts))
        return only(self._inserted(insert_many, [job]))

    def insert_tx(
        self,
        tx: object,
        args: JobArgs,
        opts: InsertOpts | None = None,
        *,
        insert_opts: InsertOpts | None = None,
    ) -> InsertResult:
        """As `insert`, in the transaction open on `tx`."""
        job = self._preparation.job(args, either_opts(opts, insert_opts))
        return only(self._inserted(insert_many, [job], tx))

    def insert_many(self, jobs: Sequence[JobArgs | InsertManyParams]) -> list[InsertResult]:
        """Insert `jobs`, each args or InsertManyParams: all of them or none.

        Results come in the order of `jobs`. A unique job that is there already is not inserted: its
        result has the job that is, and says so; so it is with all but the first of equal ones among
        `jobs`. Raises InvalidJob if there are none.
        """
        return self._inserted(insert_many, self._preparation.jobs(jobs))

    def insert_many_tx(
        self, tx: object, jobs: Sequence[JobArgs | InsertManyParams]
    ) -> list[InsertResult]:
        """As `insert_many`, in the transaction open on `tx`."""
        return self._inserted(insert_many, self._preparation.jobs(jobs), tx)

    def insert_many_fast(self, jobs: Sequence[JobArgs | InsertManyParams]) -> int:
        """As `insert_many`, but without the rows: how many jobs were inserted.

        Of unique jobs those that are there already are left out and not counted; Go's client fails
        there.
        """
        return self._inserted_fast(jobs)

    def insert_many_fast_tx(self, tx: object, jobs: Sequence[JobArgs | InsertManyParams]) -> int:
        """As `insert_many_fast`, in the transaction open on `tx`."""
        return self._inserted_fast(jobs, tx)

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

    def _inserted(
        self, operation: Callable[..., Exchange[T]], jobs: list[NewJob], *tx: object
    ) -> T:
        """Through the middleware and the hooks; in a transaction of its own if no `tx` is given."""

        def insert(new: list[NewJob]) -> T:
            new = self._preparation.hooked(new)
            return self._sent(operation, new, statements(new), *tx)

        return around(self._middleware, insert)(jobs)

    def _inserted_fast(self, jobs: Sequence[JobArgs | InsertManyParams], *tx: object) -> int:
        alike = None if self._middleware else self._preparation.alike(jobs)
        if alike is None:
            return self._inserted(insert_many_fast, self._preparation.jobs(jobs), *tx)
        return self._sent(insert_alike, alike, len(alike), *tx)

    def _sent(
        self,
        operation: Callable[..., Exchange[T]],
        jobs: Sequence[NewJob],
        statements: int,
        *tx: object,
    ) -> T:
        announcements = self._announcements_tx if tx else self._announcements
        with announcements.of(jobs) as queues:
            exchange = operation(jobs, queues=queues, schema=self._schema)
            if tx:
                return self._perform_tx(tx[0], exchange)
            return self._perform(exchange, statements=statements)

    def _perform(self, exchange: Exchange[T], *, statements: int = 2) -> T:
        """Run an operation in a transaction of its own; when this returns it is committed.

        statements: how many it sends at most, which bounds its time on a connection of the client's
        own. Where it is one, that is its own transaction, with nothing around it.
        """
        if self._closed:
            raise ClientError("the client is closed: make another")
        return self._source.perform(exchange, statements)

    def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T:
        """Run an operation in the transaction open on `tx`, which it neither commits nor ends."""
        try:
            return carry_out(exchange, joined(tx))
        except Exception as error:
            if is_broken(error):
                raise broken() from error
            raise
