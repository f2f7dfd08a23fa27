"""Time limits that hold even when the server does not answer."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import psycopg

from riverbridge.sql import statement

GRACE = 1.0
"""Seconds that the client waits beyond the server's own limit before it cuts the connection."""

IDLE_LIMIT = 5.0
"""Seconds that a frozen client may hold its locks; the server then ends the session."""


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
