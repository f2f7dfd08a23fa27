"""What a sink gets at most: messages a second, and bytes at one time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

BURST = 0.25
"""Seconds whose messages may go at once, after a rest: at least one message."""

SPOONFUL = 0.1
"""Seconds whose messages are waited for before any are claimed, so that batches are not tiny."""

ANY = 1 << 62
"""Bytes where there is no limit."""


class RateLimit:
    """A token bucket. Any thread may call; nobody waits in it."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """rate: messages a second."""
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, rate * BURST)
        self._least = max(1.0, rate * SPOONFUL)
        self._tokens = self._most
        self._filled = clock()
        self._lock = threading.Lock()

    def room(self) -> int:
        """How many messages may be claimed now."""
        with self._lock:
            tokens = self._fill()
            return int(tokens) if tokens >= self._least else 0

    def take(self, wanted: int) -> int:
        """Let as many of `wanted` messages go as may; they count from now."""
        with self._lock:
            granted = min(wanted, int(self._fill()))
            self._tokens -= granted
            return granted

    def give_back(self, count: int) -> None:
        """So many did not go after all."""
        with self._lock:
            self._tokens += count

    def _fill(self) -> float:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        # A sum of fractions may miss a whole number by a hair.
        return self._tokens + 1e-6


class ByteLimit:
    """How many bytes may be out at one time. Any thread may call; nobody waits in it.

    What is larger than the limit goes alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._out = 0
        self._wanted = 1
        """What the first message that did not go needs, so that smaller ones do not keep it out."""
        self._lock = threading.Lock()

    def room(self) -> int:
        """How many bytes may be claimed now; the last message may exceed them."""
        with self._lock:
            left = self._most - self._out
            return max(0, left) if not self._out or left >= self._wanted else 0

    def take(self, sizes: Sequence[int]) -> int:
        """How many of these messages go, the first ones; their bytes are out from now on."""
        with self._lock:
            for count, size in enumerate(sizes):
                if self._out and self._out + size > self._most:
                    self._wanted = size
                    return count
                self._out += size
            self._wanted = 1
            return len(sizes)

    def give_back(self, size: int) -> None:
        """So many bytes are out no more."""
        with self._lock:
            self._out -= size
