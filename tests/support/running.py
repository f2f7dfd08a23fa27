"""What runs in threads of its own: loops of ours, and work of several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Loop(Protocol):
    """What runs until it is told to stop."""

    def run(self, stop: threading.Event) -> None: ...


@contextmanager
def running(*loops: Loop, within: float = 20.0) -> Iterator[threading.Event]:
    """Run each until the block ends, or the event is set; then it must end in so many seconds."""
    stop = threading.Event()
    threads = [threading.Thread(target=loop.run, args=(stop,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(within)
            assert not thread.is_alive()


def at_once(*work: Callable[[], object]) -> None:
    """Call each in a thread; within a minute all must have returned."""
    threads = [threading.Thread(target=call) for call in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
