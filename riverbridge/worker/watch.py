"""The clock of the calls that run: timeouts, and functions that do not come back (contract 9.6).

In a thread of its own, so that it goes on when a function blocks the event loop.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from riverbridge.worker.job import Halt

if TYPE_CHECKING:
    from riverbridge.worker.call import Call

log = logging.getLogger(__name__)

STUCK_AFTER = 10.0
"""River's threshold: seconds beyond its timeout after which a job counts as stuck."""

NEVER = float("inf")

LONGEST = 3600.0
"""Seconds without a look, as a lock cannot be waited for for centuries."""

FRAMES = 15
"""The innermost frames that are logged of a stuck job."""


@dataclass(frozen=True)
class StuckJob:
    """total: how many jobs are stuck now, in all queues of the process."""

    id: int
    kind: str
    queue: str
    total: int


StuckHandler = Callable[[StuckJob], object]
"""Told once of each stuck job. Returns True to free its slot: then more functions than
`max_workers` may be running."""


class Watch:
    """Construct, `start`, `stop`. Any thread may call."""

    def __init__(
        self, *, stuck_after: float = STUCK_AFTER, on_stuck: StuckHandler | None = None
    ) -> None:
        self._stuck_after = stuck_after
        self._on_stuck = on_stuck
        self._armed: set[Call] = set()
        self._stuck = 0
        self._next = NEVER
        """When it looks next; only what is due earlier needs to wake it."""
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="work-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def arm(self, call: Call, seconds: float) -> None:
        """Halt `call` after so many seconds, unless it is disarmed."""
        call.deadline = time.monotonic() + seconds
        with self._lock:
            self._armed.add(call)
            if call.deadline < self._next:
                self._next = call.deadline
                self._wake.notify()

    def disarm(self, call: Call) -> None:
        """The function has come back, if it was called."""
        with self._lock:
            self._armed.discard(call)
            self._stuck -= call.stuck
        if call.stuck:
            log.warning("%r came back after all", call.attempts[0])

    def _run(self) -> None:
        while not self._stopped:
            try:
                for call in self._due():
                    self._overdue(call)
            except Exception:
                log.exception("the watch over job functions stumbled and goes on")

    def _due(self) -> list[Call]:
        """Wait for the earliest deadline; returns the calls that have passed theirs."""
        with self._lock:
            self._next = min((call.deadline for call in self._armed), default=NEVER)
            while not self._stopped and (left := self._next - time.monotonic()) > 0:
                self._wake.wait(min(left, LONGEST))
            now = time.monotonic()
            return [call for call in self._armed if call.deadline <= now]

    def _overdue(self, call: Call) -> None:
        if not call.timed_out:
            call.timed_out = True
            call.deadline += self._stuck_after
            call.halt(Halt.TIMED_OUT)
            return
        call.deadline = NEVER
        for attempt in call.attempts:
            with self._lock:
                if call not in self._armed:
                    return
                call.stuck += 1
                self._stuck += 1
                total = self._stuck
            log.warning(
                "%r does not come back from its function; %s stands here:\n%s",
                attempt,
                "the event loop" if call.definition.is_async else "its thread",
                _stack(call.thread),
            )
            if self._handled(StuckJob(attempt.id, attempt.kind, attempt.queue, total)):
                call.free()

    def _handled(self, job: StuckJob) -> bool:
        """Whether its slot is to be freed."""
        try:
            return self._on_stuck is not None and self._on_stuck(job) is True
        except BaseException:
            log.exception("the handler of stuck jobs failed")
            return False


def _stack(thread: int) -> str:
    """Where a thread stands now."""
    frame = sys._current_frames().get(thread)
    return "" if frame is None else "".join(traceback.format_stack(frame, FRAMES))
