"""A source without a position does what every source has to do, with the inbox.

It is a queue in memory that hands each message out until it is acknowledged, as SQS does, and now
and then twice all the same.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence

import pytest

from riverbridge.sources.base import Bounds, Event, Positioned, Source
from riverbridge.testing.source_conformance import SourceConformance
from riverbridge.testing.source_harness import SourceHarness
from tests.support.database import Database


class Queue:
    """The server: what is visible, and what is out."""

    def __init__(self) -> None:
        self.arrived = threading.Condition()
        self.visible: list[Event] = []
        self.out: dict[str, Event] = {}


class QueueSource:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._numbers = itertools.count(1)

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        queue = self._queue
        with queue.arrived:
            queue.arrived.wait_for(lambda: queue.visible, bounds.seconds)
            taken = queue.visible[: bounds.count]
            del queue.visible[: bounds.count]
            queue.out |= {event.id: event for event in taken}
            if taken and next(self._numbers) % 3 == 0:
                queue.visible.append(taken[0])  # at least once
            return taken

    def acknowledge(self, events: Sequence[Event]) -> None:
        with self._queue.arrived:
            for event in events:
                self._queue.out.pop(event.id, None)

    def release(self, events: Sequence[Event]) -> None:
        with self._queue.arrived:
            self._queue.visible += [
                event for event in events if self._queue.out.pop(event.id, None) is not None
            ]

    def idle(self, seconds: float) -> None:
        time.sleep(seconds)

    def problem(self) -> str | None:
        return None

    def close(self) -> None:
        """What is out becomes visible again, as where its time-out has passed."""
        with self._queue.arrived:
            self._queue.visible += self._queue.out.values()
            self._queue.out.clear()


class QueueHarness(SourceHarness):
    def __init__(self, database: Database) -> None:
        self.dsn = database.dsn
        self._queue = Queue()
        self._sent: dict[bytes, Event] = {}

    def open(self) -> Source:
        source = QueueSource(self._queue)
        assert not isinstance(source, Positioned)
        return source

    def send(self, bodies: Sequence[bytes]) -> None:
        events = [Event(f"m{len(self._sent) + n}", body) for n, body in enumerate(bodies)]
        self._sent |= dict(zip(bodies, events, strict=True))
        with self._queue.arrived:
            self._queue.visible += events
            self._queue.arrived.notify()

    def send_again(self, bodies: Sequence[bytes]) -> bool:
        with self._queue.arrived:
            self._queue.visible += [self._sent[body] for body in bodies]
            self._queue.arrived.notify()
        return True


class TestQueueSource(SourceConformance):
    @pytest.fixture
    def harness(self, tables: Database) -> SourceHarness:
        return QueueHarness(tables)
