"""Threads for plain job functions: as many as run at once, made when they are needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)


class Threads:
    """Runs each function it is given at once; how many there are is bounded by who gives them.

    Where the system allows no more threads, functions wait for one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle = 0
        """Threads that wait for a function; below 0, functions that wait for a thread."""
        self._made = 0
        self._functions: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, function: Callable[[], None]) -> None:
        """Call it in a thread that has nothing to do, or in a new one."""
        with self._lock:
            if self._idle <= 0:
                self._make()
            self._idle -= 1
        self._functions.put(function)

    def stop(self) -> None:
        """Let the threads end; what runs is not waited for, and nothing must be run after this."""
        with self._lock:
            made = self._made
        for _ in range(made):
            self._functions.put(None)

    def _make(self) -> None:
        # Daemons: a function that hangs does not keep the process from ending.
        name = f"{self._name}-{self._made + 1}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError:
            if self._made == 0:
                raise
            log.warning("no more threads can be made: job functions wait for one of %d", self._made)
        else:
            self._made += 1
            self._idle += 1

    def _serve(self) -> None:
        while (function := self._functions.get()) is not None:
            try:
                function()
            except BaseException:
                log.exception("a thread of job functions was thrown out of and goes on")
            with self._lock:
                self._idle += 1
