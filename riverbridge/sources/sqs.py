"""An SQS queue as a source, standard or FIFO. What is received stays hidden from others until it is
deleted, which is after its commit.

Some threads receive, others delete and hide, one sees what has to stay hidden. Received messages
wait in one line. Those of a FIFO queue's group come in one answer, and no more of it before these
are deleted; so with any number of threads a group's order is that of the line. What has to come
again goes back to the head of the line and not to SQS, which would count it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from riverbridge import telemetry
from riverbridge.sinks.aws_http import Connection
from riverbridge.sinks.aws_signer import SupportsFreezing
from riverbridge.sinks.sqs import queue_access
from riverbridge.sources.base import Bounds, Event
from riverbridge.sources.sqs_calls import MOST, QueueCalls, Received, Trouble
from riverbridge.sources.sqs_keeping import Held, Keeping
from riverbridge.sources.sqs_message import event_of

log = logging.getLogger(__name__)

AHEAD = 1000
AHEAD_BYTES = 16 << 20
"""Messages, and bytes of bodies, from which the line is long enough."""
UNDONE = 300
"""Requests to delete or hide from which nothing more is received."""
QUICK = 0.25
"""Seconds: messages that came sooner were there already, and there may be more."""
REST, LONGEST_REST = 0.2, 5.0
"""Seconds of rest after a failure: doubles from the first to the longest."""
MEASURE = 15.0
"""Seconds between two looks at how many messages wait."""
LEAVE = 2.0
"""Seconds that a closing source may take to delete what is safe, and to give back the rest."""


class SqsSource:
    """Reads one queue (`riverbridge.sources.base.Source`).

    name: of the source, for logs and metrics. queue_url, region, endpoint_url, credentials: as for
    `riverbridge.sinks.sqs.SqsSink`.
    receivers: requests for messages at once, where there are many; where none come it is one.
    wait: seconds a request waits for messages, to 20. With 0 there is a rest between requests.
    hidden: seconds a message is hidden from others at a time. It is hidden anew for as long as it
        is held, up to the twelve hours that SQS has for it.
    max_receives: a message that was received more often is refused.

    Raises ConfigurationError for values that cannot work.
    """

    def __init__(
        self,
        *,
        name: str,
        queue_url: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: SupportsFreezing | None = None,
        receivers: int = 4,
        wait: int = 20,
        hidden: int = 60,
        max_receives: int | None = None,
    ) -> None:
        access = queue_access(queue_url, region, endpoint_url, credentials)
        self.name = name
        self._topic = urlsplit(queue_url).path.strip("/").rpartition("/")[2]
        self._wait, self._hidden, self._max_receives = wait, hidden, max_receives
        self._calls = QueueCalls(queue_url, access)
        self._keeping = Keeping(name, self._calls, access.connection, receivers)
        self._changed = threading.Condition()
        self._line: deque[Held] = deque()
        self._bytes = 0
        self._out: list[Held] = []
        self._most = receivers
        self._wanted = 1
        self._asking = 0
        self._paused = False
        self._trouble: str | None = None
        self._closing = threading.Event()
        self._waiting: int | None = None
        *receiving, measuring = (access.connection() for _ in range(receivers + 1))
        self._connections = [*receiving, measuring]
        work: list[Callable[[], None]] = [self._watch, partial(self._measure, measuring)]
        work += (partial(self._receive, n, one) for n, one in enumerate(receiving))
        self._threads = [
            threading.Thread(target=run, name="sqs-source", daemon=True) for run in work
        ]
        for thread in self._threads:
            thread.start()

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        """The head of the line."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._line, bounds.seconds)
            size = 0
            while self._line and len(self._out) < bounds.count and size < bounds.size:
                held = self._line.popleft()
                size += len(held.event.body or b"")
                self._out.append(held)
            self._bytes -= size
            self._changed.notify_all()
            return [held.event for held in self._out]

    def acknowledge(self, events: Sequence[Event]) -> None:
        """Have them deleted. One that is not comes again, and is known then."""
        with self._changed:
            safe, self._out = self._out, []
        self._keeping.delete(safe)

    def release(self, events: Sequence[Event]) -> None:
        """Put them back to the head of the line, in their order."""
        with self._changed:
            self._line.extendleft(reversed(self._out))
            self._bytes += sum(len(held.event.body or b"") for held in self._out)
            self._out = []

    def idle(self, seconds: float) -> None:
        """Wait, and ask for nothing; what is held stays hidden."""
        with self._changed:
            self._paused = True
        self._closing.wait(seconds)

    def problem(self) -> str | None:
        """What SQS, or the way to it, said last."""
        return self._trouble

    def lag(self) -> int | None:
        """The messages that nobody holds, about, and not long ago."""
        return self._waiting

    def close(self) -> None:
        """Delete what is safe, and have SQS give the rest to whoever asks next."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        until = time.monotonic() + LEAVE
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < until:
            for connection in self._connections:
                connection.abort()
            for thread in self._threads:
                thread.join(0.1)
        self._keeping.hurry()
        self._keeping.settle(LEAVE)
        with self._changed:
            left = [*self._out, *self._line]
            self._line.clear()
            self._out = []
        self._keeping.hide(left, 0)
        self._keeping.settle(LEAVE)
        self._keeping.close()

    def _receive(self, number: int, connection: Connection) -> None:
        """One thread that receives, until the source is closed."""
        rest = REST
        try:
            while self._may_ask(number):
                begun = time.monotonic()
                try:
                    found = self._calls.receive(connection, wait=self._wait, hidden=self._hidden)
                    self._arrived(found, time.monotonic() - begun)
                    rest = REST
                    if not found and not self._wait:
                        self._closing.wait(rest)
                except Trouble as error:
                    self._failed(str(error))
                    self._closing.wait(rest)
                    rest = min(2 * rest, LONGEST_REST)
                except Exception as error:
                    log.exception("source %s: receiving failed in a way it must not", self.name)
                    self._failed(f"receiving failed: {type(error).__name__}")
                    self._closing.wait(LONGEST_REST)
        finally:
            connection.close()

    def _may_ask(self, number: int) -> bool:
        """Wait until this thread is to ask for messages; False once the source is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing.is_set() or self._has_room(number))
            self._asking += 1
            return not self._closing.is_set()

    def _has_room(self, number: int) -> bool:
        return (
            number < self._wanted
            and not self._paused
            and len(self._line) + self._asking * MOST < AHEAD
            and self._bytes < AHEAD_BYTES
            and self._keeping.open < UNDONE
        )

    def _failed(self, trouble: str) -> None:
        with self._changed:
            self._asking -= 1
            if self._closing.is_set():
                return
            level = logging.DEBUG if trouble == self._trouble else logging.WARNING
            self._trouble = trouble
        log.log(level, "source %s: %s", self.name, trouble)

    def _arrived(self, found: Sequence[Received], seconds: float) -> None:
        # Not what the clock says now: the answer was a while on its way.
        until = time.monotonic() + self._hidden - 1.0
        held = [
            Held(event_of(one, self._topic, self._max_receives), one.receipt_handle, until)
            for one in found
        ]
        with self._changed:
            self._trouble = None
            self._asking -= 1
            self._line.extend(held)
            self._bytes += sum(len(one.event.body or b"") for one in held)
            if not held:
                self._wanted = max(1, self._wanted - 1)
            elif seconds < QUICK:
                self._wanted = min(self._most, self._wanted + 1)
            self._changed.notify_all()

    def _watch(self) -> None:
        """Hide what is held anew, in time."""
        while not self._closing.wait(self._hidden / 6):
            soon = time.monotonic() + self._hidden / 2
            with self._changed:
                due = [held for held in (*self._line, *self._out) if held.until < soon]
            self._keeping.hide(due, self._hidden)

    def _measure(self, connection: Connection) -> None:
        """Ask at times how many messages wait. Nothing depends on it: what it is not known for is
        logged once."""
        said = ""
        try:
            while not self._closing.is_set():
                try:
                    self._waiting = self._calls.waiting(connection)
                except Trouble as error:
                    self._waiting = None
                    if str(error) != said and not self._closing.is_set():
                        said = str(error)
                        log.info("source %s: how many messages wait is not known: %s",
                                 self.name, said)  # fmt: skip
                if self._waiting is not None:
                    telemetry.source_lag.set(self._waiting, {"source": self.name})
                self._closing.wait(MEASURE)
        finally:
            connection.close()
