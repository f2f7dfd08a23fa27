"""Time and sinks that move only when the test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from riverbridge.bridge.alarms import Alarms
from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.outlet import Deliver, Outlet
from riverbridge.bridge.route import Route
from riverbridge.engine.batch import Batch
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Outcome, Parked, Retry
from riverbridge.sinks.base import Message
from tests.support.bridge import ScriptedSink
from tests.support.jobs import job


class SetAlarms(Alarms):
    """Alarms that ring while the test passes the time."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self._set and self._set[0][0] <= until:
            self.now = max(self.now, self._set[0][0])
            self.ring_due()
        self.now = until

    def _start(self) -> None:
        """No thread."""


class HandOutlet(Outlet):
    """Keeps each call until the test answers it."""

    def __init__(self, name: str, threads: int = 2, **limits: Any) -> None:
        super().__init__(name, ScriptedSink(), threads=threads, **limits)
        self.calls: list[tuple[list[Message], Callable[[Sequence[Outcome]], None]]] = []
        self.sent: list[str] = []
        """The ids of all messages so far."""

    def submit(
        self,
        render: Callable[[], Sequence[Message]],
        deadline: float,
        done: Callable[[Sequence[Outcome]], None],
        deliver: Deliver | None = None,
        size: int = 0,
    ) -> None:
        self._free -= 1
        self.breaker.probing()
        messages = list(render())
        self.sent += [message.id for message in messages]
        self.calls.append((messages, done))

    def answer(self, outcome: Outcome | None = None, call: int = 0) -> None:
        """Answer a call that is out: every message of it so."""
        messages, done = self.calls.pop(call)
        outcomes = [outcome or Delivered()] * len(messages)
        self._free += 1
        self.breaker.heard(outcomes)
        done(outcomes)


class FannedOut:
    """A route to sinks `a`, `b` (and so on) that are answered by hand."""

    def __init__(self, *names: str, patience: float = 0.25, **more: Any) -> None:
        self.alarms = SetAlarms()
        self.outlets = {name: HandOutlet(name) for name in names or ("a", "b")}
        self.route = Route(
            "r",
            {outlet: Envelope("raw", source="s") for outlet in self.outlets.values()},
            patience=patience,
            alarms=self.alarms,
            **more,
        )

    def __getitem__(self, name: str) -> HandOutlet:
        return self.outlets[name]

    def take(self, *jobs: ClaimedJob) -> Batch:
        """Hand these jobs over; their deadline is 10 s ahead."""
        batch = Batch(jobs or (job(),), self.alarms.now + 10)
        self.route.take(batch)
        return batch

    def lags(self, name: str) -> None:
        """Have sink `name` exceed the patience with one batch, which is still out then."""
        batch = self.take(job(id=999))
        for other, outlet in self.outlets.items():
            if other != name:
                outlet.answer(call=-1)
        self.alarms.pass_time(self.route._patience + 0.01)
        assert batch.answered


def again(before: ClaimedJob, outcome: Outcome | None) -> ClaimedJob:
    """`before` as it is claimed after its row was written for `outcome`."""
    assert isinstance(outcome, Parked | Retry)
    merged = json.loads(before.metadata) | json.loads(outcome.metadata or "{}")
    attempt = before.attempt + isinstance(outcome, Retry)
    return msgspec.structs.replace(before, metadata=json.dumps(merged), attempt=attempt)
