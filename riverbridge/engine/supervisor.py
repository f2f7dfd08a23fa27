"""Threads that are started again when they die, and that say so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

FIRST_REST = 0.5
LONGEST_REST = 30.0
"""Seconds before a dead loop is started again: doubles from the first to the longest."""


class Supervisor:
    """Runs loops, each in a thread of its own, until `stop`.

    A loop is a function of `stop` that returns after it is set. One that returns or raises before
    is logged and started again, later each time it dies young.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []

    def start(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        """Run `loop` in a thread called `name`."""
        thread = threading.Thread(target=self._keep, args=(name, loop), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, timeout: float) -> list[str]:
        """Wait for all loops to end; returns the names of those that did not within `timeout`."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        deaths = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                loop(self._stop)
            except Exception:
                log.exception("%s died", name)
            if self._stop.is_set():
                return
            deaths = 0 if time.monotonic() - began > LONGEST_REST else deaths
            rest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(deaths, 16))
            deaths += 1
            log.error("%s ended by itself and is started again in %.1f s", name, rest)
            self._stop.wait(rest)
