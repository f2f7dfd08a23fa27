"""Messages to an SQS queue, standard or FIFO.

At least once on a standard queue. On a FIFO queue the message's id deduplicates for five minutes
and its key is the group: within one call of `deliver` a message is sent only when SQS has
acknowledged the earlier ones of its group.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError
from botocore.session import Session

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Misconfigured, Outcome, Snoozed, Unreachable
from riverbridge.sinks.base import Message
from riverbridge.sinks.sqs_batch import MAX_ENTRIES, Grouped, Line, Loose
from riverbridge.sinks.sqs_http import (
    Connection,
    Endpoint,
    Signer,
    SupportsFreezing,
    origin,
    region_of,
    tls_context,
)
from riverbridge.sinks.sqs_limit import QueueLimit
from riverbridge.sinks.sqs_message import Entry, prepare
from riverbridge.sinks.sqs_send import Health, Sender

log = logging.getLogger(__name__)

TOO_LATE = 0.02
"""Seconds before the deadline from which nothing is sent any more: no answer could be in time."""
GRACE = 0.05
"""Seconds after the deadline in which a thread may still report what its request came to."""


class SqsSink:
    """Delivers messages to one queue. Safe for several threads; see `riverbridge.sinks.base`.

    queue_url: as SQS gives it; FIFO if it ends with `.fifo`.
    region: else the one in the URL, else the one of the AWS configuration.
    endpoint_url: else scheme and host of the queue URL. Proxies of the environment are not used.
    delivery_timeout: seconds one `deliver` may take whatever its deadline; and if SQS took nothing
        for half of it, an unanswered request means `Unreachable` and not `Retry`.
    threads: requests at once, over all calls; each has its own kept connection.
    credentials: else boto3's normal chain, asked at every request and gone through again when
        SQS says they expired.
    fair_queue: on a standard queue send the key as MessageGroupId (fair queues).
    group_batch: messages of one group in one request. With the default of 1 order holds whatever
        SQS refuses; up to 10 is faster with few groups, but SQS may then refuse one message and
        take a later one of the same request.
    receipts: give SQS's message ids in the outcomes.

    Raises ConfigurationError for values that cannot work; nothing is sent or read before the
    first call.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        delivery_timeout: float = 10.0,
        threads: int = 8,
        credentials: SupportsFreezing | None = None,
        fair_queue: bool = False,
        group_batch: int = 1,
        receipts: bool = False,
    ) -> None:
        session = Session()
        try:
            region = region or region_of(queue_url) or session.get_config_variable("region")
            endpoint = Endpoint.of(endpoint_url or origin(queue_url, region))
            context = tls_context(session) if endpoint.secure else None
        except (BotoCoreError, OSError) as error:
            raise ConfigurationError(
                f"SQS: the AWS configuration cannot be used: {error}"
            ) from error
        _validate(queue_url, region, delivery_timeout, threads, group_batch)
        assert region is not None
        self._fifo = urlsplit(queue_url).path.endswith(".fifo")
        self._fair = fair_queue
        self._group_batch = group_batch
        self._timeout = delivery_timeout
        self._context = context
        self._endpoint = endpoint
        signer = Signer(session, endpoint.url, region, credentials)
        self._health = Health(delivery_timeout / 2)
        self._closing = threading.Event()
        self._sender = Sender(
            queue_url=queue_url,
            signer=signer,
            health=self._health,
            receipts=receipts,
            closing=self._closing,
        )
        self._limit = QueueLimit(queue_url, signer, Connection(endpoint, context))
        self._most = threads
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: list[Connection] = []
        self._work: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._calls: set[_Call] = set()

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; one outcome each, in order, at most 0.2 s after `deadline`."""
        if not messages:
            return []
        deadline = min(deadline, time.monotonic() + self._timeout)
        limit = self._limit.current(max(0.0, deadline - time.monotonic()) / 2)
        outcomes: list[Outcome | None] = [None] * len(messages)
        entries: list[Entry] = []
        for index, message in enumerate(messages):
            made = prepare(index, message, fifo=self._fifo, fair=self._fair, limit=limit)
            if isinstance(made, Entry):
                entries.append(made)
            else:
                outcomes[index] = made
        line = Grouped(entries, limit, self._group_batch) if self._fifo else Loose(entries, limit)
        call = _Call(outcomes, line, len(entries), deadline, self._health, self._most)
        if entries and self._start(call):
            call.done.wait(max(0.0, deadline - time.monotonic()) + GRACE)
        with self._lock:
            self._calls.discard(call)
        return call.finish(self._closing.is_set())

    def close(self) -> None:
        """End requests under way, threads and connections. Calls under way return soon."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            threads, connections, calls = self._threads, self._connections, set(self._calls)
        asking = self._limit.close()
        for call in calls:
            call.done.set()
        for connection in connections:
            connection.abort()
        for _ in threads:
            self._work.put(None)
        until = time.monotonic() + 1.0
        for thread in [*threads, asking] if asking else threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _start(self, call: _Call) -> bool:
        """Put threads on `call`, starting those still missing. False if the sink is closed."""
        wanted = call.turns()
        with self._lock:
            if self._closing.is_set():
                return False
            self._calls.add(call)
            while len(self._threads) < wanted:
                connection = Connection(self._endpoint, self._context)
                thread = threading.Thread(
                    target=self._run, args=(connection,), name="sqs-sink", daemon=True
                )
                self._connections.append(connection)
                self._threads.append(thread)
                thread.start()
        for _ in range(wanted):
            self._work.put(call)
        return True

    def _run(self, connection: Connection) -> None:
        """One sending thread: a request of one call, then of the next that has some."""
        try:
            while (call := self._work.get()) is not None and not self._closing.is_set():
                entries = call.take(connection)
                if not entries:
                    continue
                try:
                    outcomes = self._sender.send(connection, entries, call.deadline)
                except Exception as error:
                    log.exception("SQS sink: a request failed in a way it must not")
                    fault = f"the SQS sink failed: {type(error).__name__}"
                    outcomes = [self._health.silence(fault, ambiguous=True)] * len(entries)
                for _ in range(call.report(connection, entries, outcomes)):
                    self._work.put(call)
        finally:
            connection.close()


class _Call:
    """One call of `deliver`: what waits, what is out, and what came of it."""

    def __init__(
        self,
        outcomes: list[Outcome | None],
        line: Line,
        left: int,
        deadline: float,
        health: Health,
        most: int,
    ) -> None:
        self.deadline = deadline
        self.done = threading.Event()
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
        more = max(0, min(self._most, -(-len(self._line) // MAX_ENTRIES)) - self._queued)
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
        why = "the sink was closed" if closing else "no answer from SQS before the deadline"
        for connection, entries in self._out.items():
            connection.abort()
            self._settle(entries, [self._health.silence(why, ambiguous=True)] * len(entries))
        rest = self._line.drain()
        unsent: Outcome = Unreachable(f"not sent to SQS: {why}")
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


def _validate(
    queue_url: str, region: str | None, delivery_timeout: float, threads: int, group_batch: int
) -> None:
    problems = []
    if not urlsplit(queue_url).path.strip("/"):
        problems.append(f"SQS: {queue_url!r} names no queue: https://host/account/queue")
    if not region:
        problems.append("SQS: no region in the queue URL, the arguments or AWS_REGION: set REGION")
    if delivery_timeout <= 0:
        problems.append(f"SQS: delivery_timeout is {delivery_timeout} and must be above 0 seconds")
    if not 1 <= threads <= 256:
        problems.append(f"SQS: threads is {threads} and must be 1 to 256")
    if not 1 <= group_batch <= MAX_ENTRIES:
        problems.append(f"SQS: group_batch is {group_batch} and must be 1 to {MAX_ENTRIES}")
    if problems:
        raise ConfigurationError(problems)
