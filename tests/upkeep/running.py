"""A leader at work in a thread of its own, and a clock that can be put forward."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from riverbridge.upkeep.leader import Leader


@contextmanager
def running(leader: Leader, within: float = 15.0) -> Iterator[threading.Event]:
    """Run `leader` until the block ends; its thread must then end too."""
    stop = threading.Event()
    thread = threading.Thread(target=leader.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(within)
        assert not thread.is_alive()


class Clock:
    """Monotonic time, and what was added to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead
