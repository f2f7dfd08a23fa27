"""Connections: how they are opened, and which errors mean that one is gone.

Every connection is in autocommit and every transaction is spelled out, so nothing that matters is
kept in a session and a transaction pooler works. The server and this machine both notice a dead
peer within half a minute: keepalives and `tcp_user_timeout`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import tenacity

from riverbridge.errors import ConfigurationError

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[[], Connection]

WATCHED: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Parameters of every connection: how soon this machine notices a server that does not answer."""

GONE = (psycopg.OperationalError, psycopg.InterfaceError)
"""What a lost connection raises; `lost` tells it from an error of one statement."""

# By default the server believes in a vanished client for two hours. Behind a pooler its peer is the
# pooler, which is not ours to configure.
_SERVER_KEEPALIVE = (
    b"SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
    b" SET tcp_user_timeout = 25000"
)

# libpq gives no SQLSTATE for a refused connection, only the server's words.
_NOT_OURS_TO_WAIT_FOR = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
)


def connector(
    dsn: str, *, application_name: str = "riverbridge", pooler: bool = False
) -> Callable[[], Connection]:
    """A function that opens a connection to `dsn`.

    pooler: a transaction pooler stands between, so statements are never prepared.
    """

    def connect() -> Connection:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None if pooler else 2,
            application_name=application_name,
            **WATCHED,
        )
        if not pooler:
            connection.execute(_SERVER_KEEPALIVE, prepare=False)
        return connection

    return connect


def first_connection(connect: Connect, stop: threading.Event) -> Connection | None:
    """The connection a service starts with: waits for a database that is not up yet.

    Raises ConfigurationError where waiting will not help: wrong password, unknown role or database,
    refused by pg_hba.conf. Returns None if `stop` came first.
    """

    def connect_or_refuse() -> Connection:
        try:
            return connect()
        except psycopg.OperationalError as error:
            if refused(error):
                text = " ".join(str(error).split())
                raise ConfigurationError(f"DATABASE_URL: Postgres refuses it: {text}") from error
            raise

    return open_connection(connect_or_refuse, stop)


def refused(error: psycopg.Error) -> bool:
    """Whether a connection failed for good: for its password, role, database or pg_hba.conf."""
    text = " ".join(str(error).split())
    return any(words in text for words in _NOT_OURS_TO_WAIT_FOR)


def open_connection(
    connect: Connect, stop: threading.Event, *, sleep: Callable[[float], None] | None = None
) -> Connection | None:
    """Connect, again and again with growing, jittered pauses, until it works or `stop` is set.

    Returns None if `stop` came first. What is wrong is logged at each try, never the DSN. sleep:
    what is done for so many seconds, and ends at `stop`; by default nothing.
    """

    def report(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("cannot connect to Postgres, trying again: %s", str(error).strip())

    trying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        sleep=sleep or tenacity.sleep_using_event(stop),
        stop=tenacity.stop_when_event_set(stop),
        before_sleep=report,
    )
    try:
        return trying(connect)
    except tenacity.RetryError:
        return None


def cut(connection: Connection) -> None:
    """End a connection whose server does not answer, from another thread: its call then fails."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as twin,
    ):
        twin.shutdown(socket.SHUT_RDWR)


def lost(connection: Connection) -> bool:
    """Whether `connection` can do no more work."""
    return connection.closed or connection.broken


@contextlib.contextmanager
def transaction(
    connection: Connection, *, idle: float, total: float, statement: float = 10.0
) -> Iterator[None]:
    """A transaction that the server itself ends when its client falls silent.

    idle, total, statement: seconds without a statement, in all (Postgres 17 and later) and of one
    statement. They are set for this transaction only. An error inside rolls back; a connection that
    is gone is left alone.

    Tables are read by their indexes: a plan made and kept while a table was empty reads all of it
    for each claim once it has grown. Constraints are checked at once: one that is deferred would
    fail the COMMIT, where it is too late to tell which row is at fault.
    """
    limits = (
        "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL enable_seqscan = off"
        f"; SET LOCAL idle_in_transaction_session_timeout = {int(idle * 1000)}"
        f"; SET LOCAL statement_timeout = {int(statement * 1000)}"
    )
    if connection.info.server_version >= 170_000:
        limits += f"; SET LOCAL transaction_timeout = {int(total * 1000)}"
    try:
        connection.execute(limits.encode(), prepare=False)
        yield
    except BaseException:
        if not lost(connection):
            with contextlib.suppress(psycopg.Error):
                connection.execute(b"ROLLBACK")
        raise
    connection.execute(b"COMMIT")
