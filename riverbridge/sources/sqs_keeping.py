"""Messages that were received: kept from others, deleted, or given back, in threads of its own.

Whatever of it fails in the end does no harm: the message comes again, and is known.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from riverbridge.sinks.aws_http import Connection
from riverbridge.sources.base import Event
from riverbridge.sources.sqs_calls import MOST, QueueCalls, Trouble

log = logging.getLogger(__name__)

TRIES = 5
PAUSE = 0.1
"""Seconds before a request's second try; doubles."""
_GONE = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
"""Codes of a message that is not ours any more: hidden for too long in all, or deleted."""


@dataclass(eq=False, slots=True)
class Held:
    """A message that was received and not deleted. until: the monotonic time it is hidden to."""

    event: Event
    handle: str
    until: float


@dataclass(frozen=True, slots=True)
class _Task:
    what: Literal["delete", "hide"]
    held: Sequence[Held]
    seconds: int = 0
    tries: int = 0


class Keeping:
    """Does what is asked soon, ten messages a request, and not all in the order it was asked."""

    def __init__(
        self, name: str, calls: QueueCalls, connect: Callable[[], Connection], threads: int
    ) -> None:
        """name: of the source, for logs."""
        self._name = name
        self._calls = calls
        self._closing = threading.Event()
        self._work: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._open = 0
        self._connections = [connect() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name="sqs-source", daemon=True)
            for one in self._connections
        ]
        for thread in self._threads:
            thread.start()

    @property
    def open(self) -> int:
        """How many requests are not answered yet."""
        return self._open

    def delete(self, held: Sequence[Held]) -> None:
        """They are safe elsewhere."""
        self._put("delete", held, 0)

    def hide(self, held: Sequence[Held], seconds: int) -> None:
        """Have nobody else get them for so long; 0: they are for whoever asks next."""
        until = time.monotonic() + seconds
        for one in held:
            one.until = until
        self._put("hide", held, seconds)

    def settle(self, within: float) -> None:
        """Wait until all is done that was asked, for so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open, within)

    def close(self) -> None:
        """Begin nothing more, and end what is under way."""
        self._closing.set()
        for _ in self._threads:
            self._work.put(None)
        self.settle(0.1)
        for connection in self._connections:
            connection.abort()
        for thread in self._threads:
            thread.join(1.0)

    def hurry(self) -> None:
        """Try again without a pause from now on: this is about to be closed."""
        self._closing.set()

    def _put(self, what: Literal["delete", "hide"], held: Sequence[Held], seconds: int) -> None:
        parts = [held[at : at + MOST] for at in range(0, len(held), MOST)]
        with self._changed:
            self._open += len(parts)
        for part in parts:
            self._work.put(_Task(what, part, seconds))

    def _run(self, connection: Connection) -> None:
        try:
            while (task := self._work.get()) is not None:
                again = self._do(connection, task)
                if again is not None:
                    self._closing.wait(PAUSE * 2**task.tries)
                    self._work.put(again)
                    continue
                with self._changed:
                    self._open -= 1
                    self._changed.notify_all()
        finally:
            connection.close()

    def _do(self, connection: Connection, task: _Task) -> _Task | None:
        """What is left to be tried again."""
        handles = [one.handle for one in task.held]
        try:
            if task.what == "delete":
                results = self._calls.delete(connection, handles)
            else:
                results = self._calls.hide(connection, handles, task.seconds)
        except Trouble as error:
            results = [str(error)] * len(handles)
        except Exception:
            log.exception("source %s: a request failed in a way it must not", self._name)
            return None
        failed: list[Held] = []
        for one, why in zip(task.held, results, strict=True):
            if why in _GONE:
                one.until = float("inf")  # nothing keeps it hidden
            elif why is not None:
                failed.append(one)
        if not failed:
            return None
        if task.tries + 1 < TRIES:
            return _Task(task.what, failed, task.seconds, task.tries + 1)
        log.warning(
            "source %s: could not %s %d messages, which come again and are known then: %s",
            self._name, task.what, len(failed), next(why for why in results if why is not None),
        )  # fmt: skip
        return None
