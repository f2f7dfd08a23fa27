"""Ends what takes too long on a connection, even when the server does not answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg

from riverbridge.store.database import Connection, cut

GRACE = 1.0
"""Seconds that a cancelled statement has to end before its connection is cut."""


class Watch:
    """A thread that is there while a connection is in use, and for one more `nap`.

    A timer for each operation would be a thread for each, a third of the cost of a single insert.
    nap: seconds between looks, and the least that `over` may be given.
    """

    def __init__(self, nap: float) -> None:
        self._nap = nap
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._deadline = 0.0
        self._cancelled = False
        self._running = False
        self._closed = threading.Event()

    @contextlib.contextmanager
    def over(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Cancel what runs after `seconds`, and cut the connection `GRACE` later."""
        with self._lock:
            self._connection, self._cancelled = connection, False
            self._deadline = time.monotonic() + seconds
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="riverbridge-limit", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def close(self) -> None:
        """Let the thread end."""
        self._closed.set()

    def _run(self) -> None:
        pause = self._nap
        while not self._closed.wait(pause):
            # Held while it cancels, so that no later statement is begun and hit.
            with self._lock:
                if self._connection is None:
                    self._running = False
                    return
                if time.monotonic() >= self._deadline:
                    self._end(self._connection)
                pause = min(self._nap, max(0.0, self._deadline - time.monotonic()))

    def _end(self, connection: Connection) -> None:
        if not self._cancelled and psycopg.capabilities.has_cancel_safe():
            self._cancelled = True
            self._deadline += GRACE
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=GRACE)
        else:
            cut(connection)
            self._deadline += self._nap
