"""A sink in service: its breaker, its limits, and the threads that call it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import TypedDict

from riverbridge import telemetry
from riverbridge.bridge.breaker import Breaker
from riverbridge.bridge.figures import Figures
from riverbridge.bridge.limits import ANY, ByteLimit, RateLimit
from riverbridge.engine.pace import octets
from riverbridge.engine.slots import Slot
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Outcome, Retry
from riverbridge.sinks.base import Message, Sink

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Message], float], Sequence[Outcome]]


class Service(TypedDict, total=False):
    """How a sink is served: see `Outlet`."""

    threads: int
    rate_limit: float | None
    max_in_flight_bytes: int | None
    ways: Mapping[str, Sink]


class Outlet:
    """Delivers batches to one sink, each in a thread of its own, as many at once as `threads`."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        threads: int = 4,
        rate_limit: float | None = None,
        max_in_flight_bytes: int | None = None,
        ways: Mapping[str, Sink] | None = None,
    ) -> None:
        """rate_limit: messages a second. max_in_flight_bytes: of their jobs' args, at one time.
        ways: by which of them a route's messages go, where they need other preparation.
        """
        self.name = name
        self._rate = None if rate_limit is None else RateLimit(rate_limit)
        self._bytes = None if max_in_flight_bytes is None else ByteLimit(max_in_flight_bytes)
        self.limited = self._rate is not None or self._bytes is not None
        """Whether `admit` may refuse any."""
        self.weighs = self._bytes is not None
        """Whether it matters how large jobs are."""
        self.breaker = Breaker(name)
        self.figures = Figures()
        self._sink = sink
        self._ways = {} if ways is None else ways
        self._threads = self._free = threads
        self._started = 0
        self._full_since = float("inf")
        self.parked_at = float("-inf")
        """When a job was last parked to wait for this sink (time.monotonic)."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    @property
    def batches(self) -> tuple[int, int]:
        """How many batches are out, and how many may be."""
        return self._threads - self._free, self._threads

    def room(self) -> int:
        """How many messages it would take now."""
        if self._free <= 0:
            return 0
        room = self.breaker.room(1_000_000)
        if not (self.limited and room):
            return room
        if self._bytes is not None and not self._bytes.room():
            return 0
        return room if self._rate is None else min(room, self._rate.room())

    def bytes_left(self) -> int:
        """How many bytes of args it would take now; the last job may exceed them."""
        return ANY if self._bytes is None else self._bytes.room()

    def admit(self, jobs: Sequence[ClaimedJob]) -> int:
        """How many of these jobs, the first ones, its limits let through; they are to be sent now.

        Rooms are hints: several routes, and lanes, may have seen the same one.
        """
        count = len(jobs)
        sizes = [octets(job.args) for job in jobs] if self._bytes is not None else []
        if self._bytes is not None:
            count = self._bytes.take(sizes)
        if self._rate is not None:
            fitting, count = count, self._rate.take(count)
            if self._bytes is not None:
                self._bytes.give_back(sum(sizes[count:fitting]))
        return count

    def take_back(self, jobs: Sequence[ClaimedJob]) -> None:
        """These were let through and are not sent after all."""
        if self._bytes is not None:
            self._bytes.give_back(sum(octets(job.args) for job in jobs))
        if self._rate is not None:
            self._rate.give_back(len(jobs))

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
        size: int = 0,
    ) -> None:
        """Render and deliver in a thread; `done` gets an outcome for each message.

        deliver: called in place of the sink's own. size: bytes of the jobs' args, where it
        `weighs` them.
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
        self._calls.put(lambda: self._deliver(render, deadline, done, deliver, size))

    def way(self, route: str) -> Sink:
        """What that route's messages go through."""
        return self._ways.get(route, self._sink)

    def under(self, route: str, slot: Slot | None, places: Sequence[int]) -> Deliver:
        """How a batch of that route that holds `slot` is delivered."""
        return self.way(route).deliver

    def close(self) -> None:
        """Close the sink; unsent messages are dropped, threads that are out are not waited for."""
        for _ in range(self._threads):
            self._calls.put(None)
        for way in self._ways.values():
            way.close()
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
        size: int,
    ) -> None:
        outcomes: Sequence[Outcome] = ()
        try:
            messages = render()
            if messages:
                began = time.monotonic()
                outcomes = self._send(messages, deadline, deliver or self._sink.deliver)
                self.figures.heard(outcomes, time.monotonic() - began)
        finally:
            with self._lock:
                self._free += 1
                if self._free > 0:
                    self._full_since = float("inf")
            if self._bytes is not None:
                self._bytes.give_back(size)
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
