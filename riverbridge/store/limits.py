"""Time limits that hold even when the server does not answer."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator

import psycopg

from riverbridge.sql import statement
from riverbridge.store.database import cut

GRACE = 1.0
"""Seconds that the client waits beyond the server's own limit before it cuts the connection."""

IDLE_LIMIT = 5.0
"""Seconds that a frozen client may hold its locks; the server then ends the session."""

CANCEL_LIMIT = 5.0
"""Seconds that a server has to act on a cancellation before the connection is cut."""

_GLANCE = 0.1


@contextlib.contextmanager
def bounded_transaction(conn: psycopg.Connection, seconds: float) -> Iterator[None]:
    """A transaction in which no statement runs longer than `seconds`.

    The server ends a slow statement (`psycopg.errors.QueryCanceled`). The whole block ends
    `GRACE` later at the latest: then the socket is cut, which a frozen server or a silent network
    cannot prevent, and the caller sees `psycopg.OperationalError` and a closed connection.

    The limits are set locally, so nothing stays behind on a pooled connection. `conn` is to be in
    autocommit mode and idle.
    """
    limits = {
        "statement_ms": str(max(1, int(seconds * 1000))),
        "idle_ms": str(int(IDLE_LIMIT * 1000)),
    }
    with cut_after(conn, seconds + GRACE), conn.transaction():
        conn.execute(statement("transaction/limit"), limits)
        yield


def limit_lock_waits(conn: psycopg.Connection, seconds: float) -> None:
    """From here to the end of the transaction, no statement waits longer for a lock.

    It then raises `psycopg.errors.LockNotAvailable`.
    """
    conn.execute(statement("transaction/lock_limit"), {"lock_ms": str(max(1, int(seconds * 1000)))})


@contextlib.contextmanager
def cut_after(conn: psycopg.Connection, seconds: float) -> Iterator[None]:
    """Cut the connection's socket if the block has not ended after `seconds`."""
    # A descriptor of our own: libpq may close its own at any time, and the number be used again.
    wire = socket.socket(fileno=os.dup(conn.fileno()))

    def cut() -> None:
        with contextlib.suppress(OSError):  # the peer was quicker
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.name, timer.daemon = "riverbridge-limit", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        wire.close()


@contextlib.contextmanager
def cancelled_when(
    conn: psycopg.Connection, stop: threading.Event, seconds: float | None
) -> Iterator[None]:
    """Cancel what `conn` does in the block once `stop` is set or `seconds` have passed.

    For statements that no transaction, and so no limit of its own, can hold. They end in
    `psycopg.errors.QueryCanceled`, or within `CANCEL_LIMIT` in `psycopg.OperationalError`. `conn`
    must not be used after that: a cancellation may still be on its way.
    """
    over = threading.Event()
    end = math.inf if seconds is None else time.monotonic() + seconds

    def watch() -> None:
        while not stop.is_set() and time.monotonic() < end:
            if over.wait(_GLANCE):
                return
        patience = time.monotonic() + CANCEL_LIMIT
        while not over.wait(_GLANCE):
            with contextlib.suppress(psycopg.Error, OSError):
                conn.cancel_safe(timeout=1.0)
            if time.monotonic() > patience:
                cut(conn)

    watcher = threading.Thread(target=watch, name="riverbridge-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
