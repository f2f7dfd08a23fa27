"""How often inserts are announced.

A notification takes a lock of the whole server until its transaction has been written out: where
every insert sent one, eight connections inserted 400 jobs a second instead of 1,900, and 32 no more
than that instead of 4,000 (two cores, Postgres 18). So a client sends one per 100 ms and queue at
most, as River's own does (contract 5.3). River's workers find what comes in between with their next
poll, of one second by default; riverbridge looks again until 110 ms after a notification.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from riverbridge.model.options import NewJob
from riverbridge.store.insert import to_announce

PAUSE = 0.1
"""Seconds between two notifications for one queue; River's FetchCooldown."""


class Announcements:
    """Says for which queues a notification is due."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, jobs: Sequence[NewJob]) -> Iterator[list[str]]:
        """The queues of `jobs` to announce; if the block fails they were not."""
        due = self._due(jobs)
        try:
            yield due
        except BaseException:
            with self._lock:
                for queue in due:
                    self._last.pop(queue, None)
            raise

    def _due(self, jobs: Sequence[NewJob]) -> list[str]:
        now = time.monotonic()
        with self._lock:
            due = [
                queue
                for queue in to_announce(jobs)
                if now - self._last.get(queue, -math.inf) > PAUSE
            ]
            self._last.update(dict.fromkeys(due, now))
        return due
