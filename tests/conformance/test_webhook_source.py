"""Webhooks do what every source has to do. The server behind them is a sender that repeats each
request until it is answered well."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from riverbridge.sources.base import Event, Source
from riverbridge.sources.webhook import Letter, WebhookSource
from riverbridge.testing.source_conformance import SourceConformance
from riverbridge.testing.source_harness import SourceHarness
from tests.support.database import Database


class Sender:
    """Offers what was not answered well, again and again."""

    def __init__(self) -> None:
        self.source = WebhookSource()
        self._lock = threading.Lock()
        self._left: dict[str, Event] = {}
        self._offered: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="sender")
        self._thread.start()

    def send(self, events: Sequence[Event]) -> None:
        with self._lock:
            self._left |= {event.id: event for event in events}

    def close(self) -> None:
        self._end.set()
        self._thread.join(10)

    def _repeat(self) -> None:
        while not self._end.wait(0.01):
            with self._lock:
                due = [e for id_, e in self._left.items() if id_ not in self._offered]
            for event in due:
                self._offer(event)

    def _offer(self, event: Event) -> None:
        def answered(safe: bool) -> None:
            with self._lock:
                self._offered.discard(event.id)
                if safe:
                    self._left.pop(event.id, None)

        with self._lock:
            self._offered.add(event.id)
        if not self.source.offer(Letter(event, answered)):
            answered(False)


class WebhookHarness(SourceHarness):
    def __init__(self, database: Database) -> None:
        self.dsn = database.dsn
        self.sender = Sender()
        self._sent: dict[bytes, Event] = {}

    def open(self) -> Source:
        self.sender.source = WebhookSource()
        return self.sender.source.open()

    def send(self, bodies: Sequence[bytes]) -> None:
        events = [Event(f"m{len(self._sent) + n}", body) for n, body in enumerate(bodies)]
        self._sent |= dict(zip(bodies, events, strict=True))
        self.sender.send(events)

    def send_again(self, bodies: Sequence[bytes]) -> bool:
        self.sender.send([self._sent[body] for body in bodies])
        return True


class TestWebhookSource(SourceConformance):
    @pytest.fixture
    def harness(self, tables: Database) -> Iterator[SourceHarness]:
        harness = WebhookHarness(tables)
        yield harness
        harness.sender.close()
