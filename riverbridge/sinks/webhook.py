"""Messages to an HTTP endpoint, one request each or in batches, signed as Standard Webhooks wants.

At least once: the event id is the `webhook-id`, equal on every attempt, and receivers deduplicate
by it. Many requests are under way at once, so nothing is promised about their order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Message
from riverbridge.sinks.kept_connection import Lost, NotSent, Refused
from riverbridge.sinks.threads import Threads
from riverbridge.sinks.webhook_answer import outcome
from riverbridge.sinks.webhook_batch import halves, in_batches, without_trace
from riverbridge.sinks.webhook_http import Connection, tls_context
from riverbridge.sinks.webhook_message import Origin, Request, prepare
from riverbridge.sinks.webhook_sign import Signer

log = logging.getLogger(__name__)

MARGIN = 0.05
"""Seconds before a call's deadline at which its requests end, so that each has its own outcome."""
LONGEST_REST = 60.0
"""Seconds for which one answer's `Retry-After` keeps the whole sink quiet, at most."""
PATIENCE = 3
"""How often the endpoint may refuse the same message as a matter of configuration before it costs
the message an attempt: else one message that only the endpoint's firewall minds would stop all."""
REMEMBERED = 1000


class WebhookSink:
    """Delivers to the URLs of one origin; see `riverbridge.sinks.base`. Safe for several threads.

    url: any URL of the origin; `Message.destination` is each message's own, on the same scheme,
    host and port. fixed: all messages have the same URL, so that a refusal of the endpoint (401,
    404, 410, …) is no single message's. secrets: to sign with, all of them
    (`riverbridge.sinks.webhook_sign`). delivery_timeout: seconds one request may take. threads:
    requests at once, over all calls, each on its own kept connection. allow_private: deliver to
    private networks and this machine too. ca_file: PEM authorities instead of the system's.
    batch_size: structured CloudEvents in one request; a batch, from 2 on. Its answer is that of all
    its events, but for one that refuses it for good: then its halves are sent, down to the event at
    fault.

    Raises ConfigurationError for values that cannot work; nothing is sent before the first call.
    """

    def __init__(
        self,
        *,
        url: str,
        fixed: bool = True,
        secrets: Sequence[str] = (),
        delivery_timeout: float = 10.0,
        threads: int = 16,
        allow_private: bool = False,
        ca_file: str | None = None,
        batch_size: int = 1,
    ) -> None:
        if delivery_timeout <= 0 or threads < 1:
            raise ConfigurationError("webhook: delivery_timeout and threads must be above 0")
        self._origin = Origin.of(url)
        self._context = tls_context(ca_file) if self._origin.secure else None
        self._fixed = fixed
        self._signer = Signer(secrets)
        self._secrets = tuple(secrets)
        self._timeout = delivery_timeout
        self._private = allow_private
        self._most = threads
        self._batch_size = batch_size
        self._threads: Threads[_Call, Connection] = Threads(
            "webhook-sink", threads, self._connection, self._turn
        )
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self._refusals: dict[str, int] = {}

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; one outcome each, in order, at most 0.2 s after `deadline`."""
        outcomes: list[Outcome | None] = [None] * len(messages)
        requests: deque[Request] = deque()
        batched = self._batch_size > 1
        for index, message in enumerate(messages):
            made = prepare(index, without_trace(message) if batched else message, self._origin)
            if isinstance(made, Request):
                requests.append(made)
            else:
                outcomes[index] = made
        if batched:
            requests = deque(in_batches(requests, self._batch_size))
        call = _Call(requests, outcomes, deadline)
        rest = self._rest_until - time.monotonic()
        if rest > 0:
            call.drain(Snoozed(rest))
        elif requests:
            seconds = max(0.0, deadline - time.monotonic())
            self._threads.serve(call, min(self._most, len(requests)), seconds)
        return call.finish(self._threads.closing.is_set())

    def close(self) -> None:
        """End requests under way, threads and connections. Calls under way return soon."""
        self._threads.close()

    def _connection(self) -> Connection:
        return Connection(self._origin, self._context, private=self._private)

    def _turn(self, connection: Connection, call: _Call) -> int:
        """One request of `call`, if it has any; whether it may have more."""
        request = call.take(connection)
        if request is None:
            return 0
        try:
            got = self._send(connection, request, call.deadline)
        except Exception as error:
            log.exception("webhook sink: a request failed in a way it must not")
            connection.close()
            got = Retry(f"the webhook sink failed: {type(error).__name__}", ambiguous=True)
        if isinstance(got, Permanent) and (parts := halves(request)):
            call.divide(request, parts)
            return 2
        call.report(connection, request, got)
        if isinstance(got, Unreachable | Misconfigured):
            # Whoever is not there, or lets nobody in, is so for the rest of the call too.
            call.drain(got)
        elif isinstance(got, Retry) and got.after and self._fixed:
            rest = min(got.after, LONGEST_REST)
            self._rest_until = time.monotonic() + rest
            call.drain(Snoozed(rest))
        return 1

    def _send(self, connection: Connection, request: Request, deadline: float) -> Outcome:
        """One attempt. Its instant is this machine's: receivers compare it with their clocks."""
        now = int(time.time())
        head = f"{request.opening()}webhook-timestamp: {now}\r\n"
        if signatures := self._signer.signatures(request.id, now, request.body):
            head += f"webhook-signature: {signatures}\r\n"
        until = min(deadline - MARGIN, time.monotonic() + self._timeout)
        try:
            answer = connection.post(f"{head}\r\n".encode() + request.body, until)
        except Refused as error:
            return Misconfigured(f"nothing sent: {error}")
        except NotSent as error:
            return Unreachable(f"no connection: {error}")
        except Lost as error:
            return Retry(f"no answer: {error}", ambiguous=True)
        got = outcome(answer, fixed=self._fixed, masks=(*self._secrets, *request.masks))
        if isinstance(got, Misconfigured) and self._often_refused(request.id):
            return Retry(got.error)
        return got

    def _often_refused(self, id_: str) -> bool:
        with self._lock:
            if len(self._refusals) > REMEMBERED:
                self._refusals.clear()
            count = self._refusals[id_] = self._refusals.get(id_, 0) + 1
        return count >= PATIENCE


class _Call:
    """One call of `deliver`: what waits, what is out, and what came of it."""

    def __init__(
        self, requests: deque[Request], outcomes: list[Outcome | None], deadline: float
    ) -> None:
        self.deadline = deadline
        self.done = threading.Event()
        self._waiting = requests
        self._outcomes = outcomes
        self._out: dict[int, tuple[Request, Connection, float]] = {}
        self._longest = 0.0
        self._answered = False
        self._over = False
        self._lock = threading.Lock()

    def take(self, connection: Connection) -> Request | None:
        """The next request, noted as out on `connection`; None if there is none or no time."""
        with self._lock:
            now = time.monotonic()
            # Nothing is begun that would be cut off: it might arrive, and cost an attempt as well.
            late = now + self._longest >= self.deadline - MARGIN
            if self._over or late or not self._waiting:
                if not self._out:
                    self.done.set()
                return None
            request = self._waiting.popleft()
            # What is left of the last request says nothing about this one.
            connection.sent = False
            self._out[request.index] = request, connection, now
            return request

    def report(self, connection: Connection, request: Request, got: Outcome) -> None:
        """Note what became of `request`."""
        with self._lock:
            *_, begun = self._out.pop(request.index)
            if self._over:
                return
            self._note(request, got)
            lost = isinstance(got, Retry) and got.ambiguous
            if isinstance(got, Delivered | Permanent | Retry) and not lost:
                self._answered = True
                self._longest = max(self._longest, time.monotonic() - begun)
            self._end_if_done()

    def divide(self, request: Request, parts: Sequence[Request]) -> None:
        """`request` was refused, and its parts are sent instead."""
        with self._lock:
            del self._out[request.index]
            self._answered = True
            if not self._over:
                self._waiting.extendleft(reversed(parts))

    def drain(self, got: Outcome) -> None:
        """Nothing more is sent: `got` is what becomes of all that waits."""
        with self._lock:
            self._settle_waiting(got)
            self._end_if_done()

    def finish(self, closing: bool) -> list[Outcome]:
        """The outcomes; what has none yet gets one."""
        with self._lock:
            self._over = True
            why = "the sink was closed" if closing else "no answer before the deadline"
            unsent: Outcome = Unreachable(f"not sent: {why}")
            for request, connection, _ in self._out.values():
                lost = Retry(why, ambiguous=True)
                self._note(request, lost if connection.sent else unsent)
            if self._answered and not closing:
                # It works, only not as fast as jobs come: their turn is in the next batch.
                unsent = Snoozed(0)
            self._settle_waiting(unsent)
            return [got for got in self._outcomes if got is not None]

    def _settle_waiting(self, got: Outcome) -> None:
        while self._waiting:
            self._note(self._waiting.popleft(), got)

    def _note(self, request: Request, got: Outcome) -> None:
        for index in request.indexes:
            self._outcomes[index] = got

    def _end_if_done(self) -> None:
        if not self._waiting and not self._out:
            self.done.set()
