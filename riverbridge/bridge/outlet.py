"""A sink in service: its breaker, and the threads that call it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from riverbridge import telemetry
from riverbridge.bridge.breaker import Breaker
from riverbridge.engine.slots import Slot
from riverbridge.model.outcome import Outcome, Retry
from riverbridge.sinks.base import Message, Sink

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Message], float], Sequence[Outcome]]


class Outlet:
    """Delivers batches to one sink, each in a thread of its own, as many at once as `threads`."""

    def __init__(self, name: str, sink: Sink, *, threads: int = 4) -> None:
        self.name = name
        self.breaker = Breaker(name)
        self._sink = sink
        self._threads = self._free = threads
        self._started = 0
        self._full_since = float("inf")
        self.parked_at = float("-inf")
        """When a job was last parked to wait for this sink (time.monotonic)."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def room(self) -> int:
        """How many messages it would take now."""
        if self._free <= 0:
            return 0
        return self.breaker.room(1_000_000)

    def full_for(self) -> float:
        """Seconds since all its threads are out; 0 while one is free."""
        return max(0.0, time.monotonic() - self._full_since)

    def left_waiting(self) -> None:
        """A job is parked until this sink takes it."""
        self.parked_at = time.monotonic()

    def submit(
        self,
        render: Callable[[], Sequence[Message]],
        deadline: float,
        done: Callable[[Sequence[Outcome]], None],
        deliver: Deliver | None = None,
    ) -> None:
        """Render and deliver in a thread; `done` gets an outcome for each message.

        deliver: called in place of the sink's own.
        """
        with self._lock:
            self._free -= 1
            if self._free == 0:
                self._full_since = time.monotonic()
            if self._started < self._threads:
                self._started += 1
                # Daemons: a sink that hangs does not keep the process from ending.
                name = f"sink-{self.name}-{self._started}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        self.breaker.probing()
        self._calls.put(lambda: self._deliver(render, deadline, done, deliver))

    def under(self, slot: Slot | None, places: Sequence[int]) -> Deliver | None:
        """How a batch that holds `slot` is delivered; None for the sink's own way."""
        return None

    def close(self) -> None:
        """Close the sink; unsent messages are dropped, threads that are out are not waited for."""
        for _ in range(self._threads):
            self._calls.put(None)
        self._sink.close()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:
                log.exception("sink %s: a batch failed before it was sent", self.name)

    def _deliver(
        self,
        render: Callable[[], Sequence[Message]],
        deadline: float,
        done: Callable[[Sequence[Outcome]], None],
        deliver: Deliver | None,
    ) -> None:
        outcomes: Sequence[Outcome] = ()
        try:
            messages = render()
            if messages:
                outcomes = self._send(messages, deadline, deliver or self._sink.deliver)
        finally:
            with self._lock:
                self._free += 1
                if self._free > 0:
                    self._full_since = float("inf")
            self.breaker.heard(outcomes)
            done(outcomes)
        counts: dict[str, int] = {}
        for outcome in outcomes:
            kind = type(outcome).__name__.lower()
            counts[kind] = counts.get(kind, 0) + 1
        for kind, count in counts.items():
            telemetry.sent.add(count, {"sink": self.name, "outcome": kind})

    def _send(
        self, messages: Sequence[Message], deadline: float, deliver: Deliver
    ) -> Sequence[Outcome]:
        try:
            outcomes = deliver(messages, deadline)
        except Exception as error:
            # A sink that raises is broken; its jobs keep their attempts' meaning all the same.
            log.exception("sink %s raised instead of answering", self.name)
            return [Retry(f"sink {self.name} failed: {error}", ambiguous=True)] * len(messages)
        if len(outcomes) != len(messages):
            reason = f"sink {self.name} gave {len(outcomes)} outcomes for {len(messages)} messages"
            log.error("%s", reason)
            return [Retry(reason, ambiguous=True)] * len(messages)
        return outcomes
