"""The threads a sink sends in, shared by all its calls."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Call(Protocol):
    """One call of `deliver`."""

    done: threading.Event
    """Set when nothing more is to be waited for."""


class Connection(Protocol):
    """What a thread sends over, and no other thread."""

    def abort(self) -> None:
        """End what is under way, from another thread."""

    def close(self) -> None: ...


CallT = TypeVar("CallT", bound=Call)
ConnectionT = TypeVar("ConnectionT", bound=Connection)


class Threads(Generic[CallT, ConnectionT]):
    """At most `most` threads, started when there is something for them to do.

    connect: makes a thread's connection, which need not be open yet. turn: sends one request of a
    call, if it has one, and returns how many turns more the call needs now; must not raise. idle:
    seconds after which the connection of a thread without work is closed.
    """

    def __init__(
        self,
        name: str,
        most: int,
        connect: Callable[[], ConnectionT],
        turn: Callable[[ConnectionT, CallT], int],
        idle: float | None = None,
    ) -> None:
        self.closing = threading.Event()
        self._name = name
        self._most = most
        self._connect = connect
        self._turn = turn
        self._idle = idle
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: list[ConnectionT] = []
        self._calls: set[CallT] = set()
        self._work: queue.SimpleQueue[CallT | None] = queue.SimpleQueue()
        self._turns = 0

    def serve(self, call: CallT, turns: int, seconds: float) -> None:
        """Give `call` its first turns and wait until it is done; for `seconds` at most.

        Returns at once if this is closed, and soon when it is.
        """
        with self._lock:
            if self.closing.is_set():
                return
            self._calls.add(call)
        self._queue(call, turns)
        call.done.wait(seconds)
        with self._lock:
            self._calls.discard(call)

    def close(self) -> None:
        """End requests under way, threads and connections; waits a second for them."""
        with self._lock:
            if self.closing.is_set():
                return
            self.closing.set()
            threads, connections, calls = self._threads, self._connections, set(self._calls)
        for call in calls:
            call.done.set()
        for connection in connections:
            connection.abort()
        for _ in threads:
            self._work.put(None)
        until = time.monotonic() + 1.0
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _queue(self, call: CallT, turns: int, ended: int = 0) -> None:
        """Queue turns of `call`, starting threads where all are at work. ended: turns just over."""
        with self._lock:
            self._turns += turns - ended
            while len(self._threads) < min(self._most, self._turns) and not self.closing.is_set():
                connection = self._connect()
                thread = threading.Thread(
                    target=self._run, args=(connection,), name=self._name, daemon=True
                )
                self._connections.append(connection)
                self._threads.append(thread)
                thread.start()
        for _ in range(turns):
            self._work.put(call)

    def _run(self, connection: ConnectionT) -> None:
        try:
            while (call := self._next(connection)) is not None and not self.closing.is_set():
                self._queue(call, self._turn(connection, call), ended=1)
        finally:
            connection.close()

    def _next(self, connection: ConnectionT) -> CallT | None:
        try:
            return self._work.get(timeout=self._idle)
        except queue.Empty:
            connection.close()
            return self._work.get()
