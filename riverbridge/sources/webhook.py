"""Webhooks as a source: where requests that wait for an answer meet the thread that commits them.

The HTTP side offers each request that verifies, as a letter. The receiver's thread takes all that
wait, so that they share one transaction, and each is answered once it is known whether they are
safe. There is no server that would bring an event again: the sender does, unless its request is
answered well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from riverbridge.sources.base import Bounds, Event

PATIENCE = 1.0
"""Seconds that requests wait for a receiver that rests: a lost connection to Postgres is often back
by then, and some senders (GitHub) do not repeat what was refused."""


class Letter:
    """A request that waits. answer: is told once, from any thread, whether its event is safe."""

    __slots__ = ("answer", "event")

    def __init__(self, event: Event, answer: Callable[[bool], None]) -> None:
        self.event = event
        self.answer = answer


class WebhookSource:
    """The letters of one source. Thread-safe; `riverbridge.sources.base.Source`."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._waiting: dict[Letter, None] = {}
        self._out: Sequence[Letter] = ()
        self._receiving = False
        self._rests_since: float | None = None

    def open(self) -> WebhookSource:
        """Take letters from here on; for a receiver, which closes it."""
        with self._arrived:
            self._receiving = True
            self._rests_since = None
        return self

    def offer(self, letter: Letter) -> bool:
        """Have `letter` wait for its answer; False if nobody takes any now."""
        with self._arrived:
            if self._refuses():
                return False
            self._waiting[letter] = None
            self._arrived.notify()
            return True

    def withdraw(self, letter: Letter) -> None:
        """It waits no longer; it may be on its way all the same."""
        with self._arrived:
            self._waiting.pop(letter, None)

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        with self._arrived:
            self._rests_since = None
            self._arrived.wait_for(lambda: self._waiting, bounds.seconds)
            taken: list[Letter] = []
            size = 0
            for letter in self._waiting:
                size += len(letter.event.body or b"")
                if taken and (len(taken) >= bounds.count or size > bounds.size):
                    break
                taken.append(letter)
            for letter in taken:
                del self._waiting[letter]
            self._out = taken
        return [letter.event for letter in taken]

    def acknowledge(self, events: Sequence[Event]) -> None:
        self._answer_all(True)

    def release(self, events: Sequence[Event]) -> None:
        self._answer_all(False)

    def idle(self, seconds: float) -> None:
        with self._arrived:
            if self._rests_since is None:
                self._rests_since = time.monotonic()
            turned_away = self._take_all() if self._refuses() else []
        for letter in turned_away:
            letter.answer(False)
        time.sleep(seconds)

    def problem(self) -> str | None:
        with self._arrived:
            if not self._refuses():
                return None
        return "requests are refused for now: its queue is full, or Postgres does not answer"

    def close(self) -> None:
        with self._arrived:
            self._receiving = False
            left = self._take_all()
        self._answer_all(False)
        for letter in left:
            letter.answer(False)

    def _refuses(self) -> bool:
        if not self._receiving:
            return True
        return self._rests_since is not None and time.monotonic() - self._rests_since > PATIENCE

    def _take_all(self) -> list[Letter]:
        left = list(self._waiting)
        self._waiting.clear()
        return left

    def _answer_all(self, safe: bool) -> None:
        letters, self._out = self._out, ()
        for letter in letters:
            letter.answer(safe)
