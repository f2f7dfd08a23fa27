"""What a process that does nothing but this sets for itself."""

from __future__ import annotations

import gc
import sys
import threading

TRACKED = 50_000
"""Objects made and not freed until cycles are looked for. A batch makes thousands and no cycle;
looking every 700 of them, as is Python's default, costs a twentieth of the CPU time of a busy
bridge and a sixth of a busy worker's jobs per second."""

SWITCH_INTERVAL = 0.001
"""Seconds a thread may keep the interpreter while others want it. A lane needs it for a moment
after each of its statements; behind sinks that render, or job functions that keep the event loop
busy, it would wait for Python's default, 5 ms, each time."""

LOOK_UP = 0.5
"""Seconds after which a signal is heeded at the latest."""


def tune() -> None:
    """For a process that delivers or works jobs: what exists by now stays, new objects are rarely
    searched for cycles, and lanes wait less for other threads. Where jobs are short, a worker does
    a quarter more of them per second."""
    gc.freeze()
    gc.set_threshold(TRACKED)
    sys.setswitchinterval(SWITCH_INTERVAL)


def wait_for(stop: threading.Event) -> None:
    """Wait for an event that a signal sets; for the main thread.

    It looks up now and then: the kernel may give a signal to any thread, Python runs its handler in
    the main one alone, and nothing wakes that one if it waits without an end.
    """
    while not stop.wait(LOOK_UP):
        pass
