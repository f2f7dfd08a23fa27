"""Subscriptions to what becomes of the jobs of this process (contract 10)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from riverbridge.engine.batch import Batch
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Cancelled, Interrupted, Outcome, Retry, Snoozed
from riverbridge.model.text import error_text
from riverbridge.worker.attempt import Attempt
from riverbridge.worker.job import RunningJob

log = logging.getLogger(__name__)

SIZE = 1000
"""Events a subscription holds until they are read."""


class EventKind(StrEnum):
    """What happened. `job_failed` is any error: the state says whether it was the last."""

    JOB_CANCELLED = "job_cancelled"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    JOB_INTERRUPTED = "job_interrupted"
    JOB_SNOOZED = "job_snoozed"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"


_FINAL = {
    JobState.COMPLETED: EventKind.JOB_COMPLETED,
    JobState.CANCELLED: EventKind.JOB_CANCELLED,
}
"""Of rows in these states it is told what they got, whatever the attempt asked for."""

_KINDS: dict[type[Outcome], EventKind] = {
    Retry: EventKind.JOB_FAILED,
    Snoozed: EventKind.JOB_SNOOZED,
    Interrupted: EventKind.JOB_INTERRUPTED,
}


def kind_of_event(outcome: Outcome, state: JobState) -> EventKind | None:
    """What subscribers are told of an attempt, whose row got `state`; None for no such event."""
    return _FINAL.get(state) or _KINDS.get(type(outcome))


@dataclass(frozen=True)
class JobStats:
    """Seconds: from when the job was due to its call, of the call, and from there to the commit."""

    queue_wait: float
    run: float
    complete: float


@dataclass(frozen=True)
class Event:
    """job, state, error, stats: of an attempt that was settled. queue: that was paused or resumed.

    state: what the row got, and error: what was appended to its errors. A job that fails or snoozes
    after somebody asked to cancel it is `job_cancelled` if it is not run again (T24); one that
    completed itself in a transaction of its own is `job_completed`, also if it failed after that.
    """

    kind: EventKind
    job: RunningJob[Any] | None = None
    state: JobState | None = None
    error: str | None = None
    stats: JobStats | None = None
    queue: str | None = None


class Subscription:
    """Events in order: iterate over it, with `async for` in an event loop, or `get` them.

    It ends with `close`, or at the end of a `with`. Any thread may call.
    """

    def __init__(self, kinds: frozenset[EventKind], size: int) -> None:
        self._kinds = kinds
        self._size = size
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._closed = False
        self._dropping = False

    @property
    def closed(self) -> bool:
        """Whether nothing will be added any more."""
        return self._closed

    def wants(self, kind: EventKind) -> bool:
        """Whether it was made for such events."""
        return kind in self._kinds

    def put(self, event: Event) -> None:
        """Add an event, or drop it with a warning if there is no room."""
        with self._changed:
            if self._closed:
                return
            if len(self._events) < self._size:
                self._events.append(event)
                self._dropping = False
            elif not self._dropping:
                # Once, as there may be thousands until somebody reads again.
                self._dropping = True
                log.warning(
                    "events are dropped from here on, the first one %s: a subscription holds %d "
                    "that nobody reads",
                    event.kind,
                    self._size,
                )
            self._wake()

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None after `timeout` seconds, and once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed, timeout)
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Take no more events; those that are here can still be read."""
        with self._changed:
            self._closed = True
            self._wake()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        while True:
            woken = asyncio.Event()
            with self._changed:
                event = self._events.popleft() if self._events else None
                if event is None:
                    if self._closed:
                        return
                    self._sleepers.append((loop, woken))
            if event is None:
                await woken.wait()
            else:
                yield event

    def _wake(self) -> None:
        """Under the lock."""
        self._changed.notify_all()
        for loop, woken in self._sleepers:
            with contextlib.suppress(RuntimeError):  # it was closed
                loop.call_soon_threadsafe(woken.set)
        self._sleepers.clear()


class Events:
    """The subscriptions of one process."""

    def __init__(self) -> None:
        self._subscriptions: tuple[Subscription, ...] = ()
        self._lock = threading.Lock()

    def subscribe(self, kinds: Collection[EventKind | str], size: int = SIZE) -> Subscription:
        """What happens from now on. size: events it holds until they are read; more are dropped.

        Raises ValueError for unknown kinds, none at all, and a size below 1.
        """
        if size < 1:
            raise ValueError(f"size: {size} is out of range: use 1 or more")
        if isinstance(kinds, str) or not kinds:
            raise ValueError("kinds: must be a list of one or more kinds of events")
        subscription = Subscription(frozenset(map(EventKind, kinds)), size)
        with self._lock:
            kept = (each for each in self._subscriptions if not each.closed)
            self._subscriptions = (*kept, subscription)
        return subscription

    def publish(self, event: Event) -> None:
        """Give an event to all that want it."""
        for subscription in self._subscriptions:
            if subscription.wants(event.kind):
                subscription.put(event)

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            subscription.close()

    def follow(self, batch: Batch, attempts: Sequence[Attempt]) -> None:
        """Publish what becomes of these jobs of `batch`, once it is in their rows."""
        batch.on_settled = partial(self._settled, attempts)

    def _settled(
        self, attempts: Sequence[Attempt], settled: Sequence[tuple[ClaimedJob, Outcome, JobState]]
    ) -> None:
        if not self._subscriptions:
            return
        by_id = {attempt.id: attempt for attempt in attempts}
        for row, outcome, state in settled:
            attempt, kind = by_id.get(row.id), kind_of_event(outcome, state)
            if attempt is not None and kind is not None:
                error = None
                if isinstance(outcome, Retry | Cancelled) and state is not JobState.COMPLETED:
                    error = error_text(outcome.error)
                self.publish(Event(kind, attempt, state, error, _stats(attempt)))


def _stats(attempt: Attempt) -> JobStats:
    now = time.monotonic()
    began = datetime.now(UTC) - timedelta(seconds=now - attempt.began)
    return JobStats(
        queue_wait=(began - attempt.scheduled_at).total_seconds(),
        run=attempt.ended - attempt.began,
        complete=now - attempt.ended,
    )
