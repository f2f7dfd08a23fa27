"""The sinks of one conformance test: each call is held to what every call promises."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Message, Sink
from riverbridge.testing.harness import Received, SinkHarness

TIMEOUT = 10.0
SHORT = 1.5
"""Seconds: the delivery timeout of a sink where all goes well, and where nothing does."""
SLACK = 1.0
"""Seconds that a busy machine may make of a deadline."""
PATIENCE = 15.0
"""Seconds until what must happen soon has happened."""
STOP = 5.0
"""Seconds in which `close` and the calls under way return."""


class Trial:
    """The sinks of one test. What is delivered through it is held to what every call promises."""

    def __init__(self, harness: SinkHarness) -> None:
        self.harness = harness
        self.shown: list[str] = []
        self._run = uuid.uuid4().hex[:12]
        self._numbers = count(1)
        self._open: list[Sink] = []

    def open(self, delivery_timeout: float = TIMEOUT) -> Sink:
        return self.watch(self.harness.open(delivery_timeout))

    def watch(self, sink: Sink) -> Sink:
        """Close `sink` at the end, if the test does not."""
        self.shown.append(repr(sink))
        self._open.append(sink)
        return sink

    def close(self, sink: Sink) -> None:
        self._open.remove(sink)
        began = time.monotonic()
        sink.close()
        assert time.monotonic() - began < STOP, "close() took too long"

    def end(self, log: str) -> None:
        """Close what is open; nothing that was shown or logged may hold a secret."""
        self.harness.mend()
        for sink in list(self._open):
            self.close(sink)
        for secret in self.harness.secrets:
            assert secret not in log, "a log line holds a secret"
            assert not any(secret in text for text in self.shown), (
                "an outcome or a repr holds a secret"
            )

    def messages(
        self, number: int, *, key: str = "k", destination: str | None = None
    ) -> list[Message]:
        """Messages as the bridge makes them: the id goes with them as the header `ce_id`."""
        where = self.harness.destination if destination is None else destination
        made = []
        for n in islice(self._numbers, number):
            id_ = f"{self._run}:{n}"
            made.append(Message(id_, b'{"n":%d}' % n, where, key, (("ce_id", id_),)))
        return made

    def deliver(
        self, sink: Sink, messages: Sequence[Message], seconds: float = TIMEOUT
    ) -> list[Outcome]:
        began = time.monotonic()
        outcomes = list(sink.deliver(messages, began + seconds))
        took = time.monotonic() - began
        assert took < max(0.0, seconds) + SLACK, f"{took:.2f} s, and {seconds} s were given"
        assert len(outcomes) == len(messages)
        for outcome in outcomes:
            assert isinstance(
                outcome, Delivered | Retry | Permanent | Unreachable | Misconfigured | Snoozed
            ), f"{outcome!r} is nothing a sink can say"
        self.shown.append(repr(outcomes))
        return outcomes

    def deliver_all(self, sink: Sink, messages: Sequence[Message]) -> None:
        outcomes = self.deliver(sink, messages)
        assert kinds(outcomes) == {"Delivered": len(messages)}, outcomes

    def came(self, ids: set[str]) -> list[Received]:
        """What the server got, once `ids` are in it."""
        got: list[Received] = []

        def there() -> bool:
            got[:] = self.harness.received()
            return ids <= {one.id for one in got}

        soon(there, lambda: f"not received: {sorted(ids - {one.id for one in got})}")
        return got

    def recovers(self, sink: Sink) -> None:
        """Soon a whole batch is delivered again, and it arrives."""
        batch: list[Message] = []
        outcomes: list[Outcome] = []

        def delivered() -> bool:
            batch[:] = self.messages(5)
            outcomes[:] = self.deliver(sink, batch, SHORT)
            return kinds(outcomes) == {"Delivered": 5}

        soon(delivered, lambda: f"not delivered again: {outcomes}")
        self.came(ids(batch))


def kinds(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many there are of each."""
    return dict(Counter(type(outcome).__name__ for outcome in outcomes))


def ids(messages: Iterable[Message]) -> set[str]:
    return {message.id for message in messages}


def delivered(messages: Sequence[Message], outcomes: Sequence[Outcome]) -> set[str]:
    """The ids of those of which the sink says so."""
    pairs = zip(messages, outcomes, strict=True)
    return {message.id for message, outcome in pairs if isinstance(outcome, Delivered)}


def soon(condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait until `condition()`; AssertionError with what `otherwise` says after fifteen seconds."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, otherwise()
        time.sleep(0.02)
