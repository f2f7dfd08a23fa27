"""Batches of messages to an AWS service, with one outcome for each message."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Misconfigured, Outcome, Snoozed, Unreachable
from riverbridge.sinks.aws_access import Access
from riverbridge.sinks.aws_api import Api
from riverbridge.sinks.aws_batch import Entry, Line
from riverbridge.sinks.aws_http import Connection
from riverbridge.sinks.aws_send import Health, Sender
from riverbridge.sinks.base import Message
from riverbridge.sinks.threads import Threads

log = logging.getLogger(__name__)

TOO_LATE = 0.02
"""Seconds before the deadline from which nothing is sent any more: no answer could be in time."""
GRACE = 0.05
"""Seconds after the deadline in which a thread may still report what its request came to."""


class AwsSink:
    """Delivers through one `Api`. Safe for several threads; see `riverbridge.sinks.base`.

    delivery_timeout: seconds one `deliver` may take whatever its deadline; and if the service took
        nothing for half of it, an unanswered request means `Unreachable` and not `Retry`.
    threads: requests at once, over all calls; each has its own kept connection.

    Raises ConfigurationError for values that cannot work; nothing is sent or read before the
    first call.
    """

    def __init__(self, api: Api, access: Access, *, delivery_timeout: float, threads: int) -> None:
        _validate(delivery_timeout, threads)
        self._api = api
        self._timeout = delivery_timeout
        self._health = Health(delivery_timeout / 2)
        self._most = threads
        self._threads: Threads[_Call, Connection] = Threads(
            "aws-sink", threads, access.connection, self._turn
        )
        self._sender = Sender(api, access.signer, self._health, self._threads.closing)

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; one outcome each, in order, at most 0.2 s after `deadline`."""
        if not messages:
            return []
        deadline = min(deadline, time.monotonic() + self._timeout)
        limit = self._api.limit(max(0.0, deadline - time.monotonic()) / 2)
        outcomes: list[Outcome | None] = [None] * len(messages)
        entries: list[Entry] = []
        for index, message in enumerate(messages):
            made = self._api.prepare(index, message, limit)
            if isinstance(made, Entry):
                entries.append(made)
            else:
                outcomes[index] = made
        line = self._api.line(entries, limit)
        call = _Call(self._api, outcomes, line, len(entries), deadline, self._health, self._most)
        if entries:
            seconds = max(0.0, deadline - time.monotonic()) + GRACE
            self._threads.serve(call, call.turns(), seconds)
        return call.finish(self._threads.closing.is_set())

    def close(self) -> None:
        """End requests under way, threads and connections. Calls under way return soon."""
        asking = self._api.close()
        until = time.monotonic() + 1.0
        self._threads.close()
        if asking:
            asking.join(max(0.0, until - time.monotonic()))

    def _turn(self, connection: Connection, call: _Call) -> int:
        """One request of `call`, if it has any; how many more could go now."""
        entries = call.take(connection)
        if not entries:
            return 0
        try:
            outcomes = self._sender.send(connection, entries, call.deadline)
        except Exception as error:
            service = self._api.service
            log.exception("%s sink: a request failed in a way it must not", service)
            fault = f"the {service} sink failed: {type(error).__name__}"
            outcomes = [self._health.silence(fault, ambiguous=True)] * len(entries)
        return call.report(connection, entries, outcomes)


class _Call:
    """One call of `deliver`: what waits, what is out, and what came of it."""

    def __init__(
        self,
        api: Api,
        outcomes: list[Outcome | None],
        line: Line,
        left: int,
        deadline: float,
        health: Health,
        most: int,
    ) -> None:
        self.deadline = deadline
        self.done = threading.Event()
        self._api = api
        self._outcomes = outcomes
        self._line = line
        self._left = left
        self._health = health
        self._most = most
        self._queued = 0
        self._lock = threading.Lock()
        self._out: dict[Connection, list[Entry]] = {}
        self._over = False

    def turns(self) -> int:
        """How many turns to queue with the threads: one for each request that could go now."""
        with self._lock:
            return self._turns()

    def _turns(self) -> int:
        more = max(0, min(self._most, -(-len(self._line) // self._api.most)) - self._queued)
        self._queued += more
        return more

    def take(self, connection: Connection) -> list[Entry]:
        """Entries for one request, noted as out on `connection`; empty if none can go now."""
        with self._lock:
            self._queued -= 1
            late = time.monotonic() > self.deadline - TOO_LATE
            entries = [] if self._over or late else self._line.take()
            if entries:
                self._out[connection] = entries
            return entries

    def report(
        self, connection: Connection, entries: list[Entry], outcomes: Sequence[Outcome]
    ) -> int:
        """Note what became of `entries`; how many more turns to queue."""
        with self._lock:
            self._out.pop(connection, None)
            if self._over:
                return 0
            self._settle(entries, outcomes)
            fatal = next((o for o in outcomes if isinstance(o, Unreachable | Misconfigured)), None)
            if fatal is not None:
                # Whoever gets no answer, or no access, gets it for the rest of the call as well.
                rest = self._line.drain()
                self._settle(rest, [fatal] * len(rest))
            if not self._left:
                self.done.set()
                return 0
            return self._turns()

    def finish(self, closing: bool) -> list[Outcome]:
        """The outcomes; what has none yet gets one, and requests still out are ended."""
        with self._lock:
            self._over = True
            if self._left:
                self._expire(closing)
            return [outcome for outcome in self._outcomes if outcome is not None]

    def _expire(self, closing: bool) -> None:
        service = self._api.service
        why = "the sink was closed" if closing else f"no answer from {service} before the deadline"
        for connection, entries in self._out.items():
            connection.abort()
            self._settle(entries, [self._health.silence(why, ambiguous=True)] * len(entries))
        rest = self._line.drain()
        unsent: Outcome = Unreachable(f"not sent to {service}: {why}")
        if self._health.lately() and not closing:
            unsent = Snoozed(0)
        self._settle(rest, [unsent] * len(rest))

    def _settle(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        for entry, outcome in zip(entries, outcomes, strict=True):
            self._outcomes[entry.index] = outcome
        held = self._line.answered(entries, outcomes)
        for entry, outcome in held:
            self._outcomes[entry.index] = outcome
        self._left -= len(entries) + len(held)


def _validate(delivery_timeout: float, threads: int) -> None:
    problems = []
    if delivery_timeout <= 0:
        problems.append(f"AWS: delivery_timeout is {delivery_timeout} and must be above 0 seconds")
    if not 1 <= threads <= 256:
        problems.append(f"AWS: threads is {threads} and must be 1 to 256")
    if problems:
        raise ConfigurationError(problems)
