"""Calls that are due at a time: one thread for all batches that wait for a sink."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Alarms:
    """Any thread may set one. The thread that rings them starts with the first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._set: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._started = False

    def at(self, when: float, ring: Callable[[], object]) -> None:
        """Call `ring` at `when` (of the clock), or soon after; it must not take long."""
        with self._changed:
            heapq.heappush(self._set, (when, next(self._order), ring))
            if self._set[0][0] == when:
                self._changed.notify()
            self._start()

    def ring_due(self) -> float | None:
        """Call all that is due; returns the seconds until the next one, None if there is none."""
        while True:
            with self._changed:
                if not self._set:
                    return None
                left = self._set[0][0] - self.clock()
                if left > 0:
                    return left
                _, _, ring = heapq.heappop(self._set)
            try:
                ring()
            except Exception:
                log.exception("an alarm failed")

    def _start(self) -> None:
        if not self._started:
            self._started = True
            # A daemon, as what it waits for ends with the process.
            threading.Thread(target=self._run, name="patience", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.ring_due()
            with self._changed:
                # Looked at under the lock: what was set since was not notified of.
                left = self._set[0][0] - self.clock() if self._set else None
                if left is None or left > 0:
                    self._changed.wait(left)
