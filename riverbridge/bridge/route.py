"""A route: takes batches of jobs and delivers each job to all of its sinks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.outlet import Outlet
from riverbridge.engine.batch import Batch
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Message

log = logging.getLogger(__name__)

_GRAVITY: tuple[type[Outcome], ...] = (
    Permanent,
    Cancelled,
    Misconfigured,
    Unreachable,
    Snoozed,
    Retry,
    Delivered,
)
"""Of several sinks' outcomes the first of these is the job's: refused for good by one is refused;
else one that did not answer, or had no turn for it, releases the job; else one that failed spends
the attempt."""


class Route:
    """The bridge's taker (`riverbridge.engine.batch.Taker`)."""

    def __init__(self, name: str, sinks: Mapping[Outlet, Envelope]) -> None:
        self.name = name
        self._sinks = dict(sinks)

    def room(self) -> int:
        """How many jobs all of its sinks would take now."""
        return min(outlet.room() for outlet in self._sinks)

    def take(self, batch: Batch) -> None:
        """Hand the jobs that have no outcome yet to every sink; answer when all have spoken."""
        delivery = _Delivery(batch, waiting=len(self._sinks))
        if not delivery.places:
            return
        for outlet, envelope in self._sinks.items():
            delivery.send(outlet, envelope)

    def preview(self, job: ClaimedJob) -> list[tuple[str, Message | Permanent]]:
        """What would be sent, by sink name."""
        return [(outlet.name, render(envelope, job)) for outlet, envelope in self._sinks.items()]


class Unmatched:
    """Takes what no route of its queue takes, as River treats a kind without a worker."""

    def room(self) -> int:
        """Any number."""
        return 1_000_000

    def take(self, batch: Batch) -> None:
        """Every job fails, spends an attempt and says why."""
        batch.answer(
            [
                Retry(f"no route of queue {job.queue} takes the kind {job.kind}")
                for job in batch.jobs
            ]
        )


def render(envelope: Envelope, job: ClaimedJob) -> Message | Permanent:
    """The message, or the reason for which this job has none."""
    try:
        return envelope.render(job)
    except TemplateError as error:
        return Permanent(str(error))


class _Delivery:
    """One batch on its way to the sinks of its route."""

    def __init__(self, batch: Batch, waiting: int) -> None:
        self._batch = batch
        self._waiting = waiting
        self._lock = threading.Lock()
        self.places = batch.open()
        self._worst: dict[int, tuple[str, Outcome]] = {}

    def send(self, outlet: Outlet, envelope: Envelope) -> None:
        sent: list[int] = []
        refused: list[tuple[int, Outcome]] = []

        def messages() -> list[Message]:
            if self._batch.abandoned:
                return []
            rendered = []
            for place in self.places:
                message = self._render(envelope, place)
                if isinstance(message, Message):
                    sent.append(place)
                    rendered.append(message)
                else:
                    refused.append((place, message))
            return rendered

        def done(outcomes: Sequence[Outcome]) -> None:
            if len(outcomes) == len(sent) and len(sent) + len(refused) == len(self.places):
                answers = [*zip(sent, outcomes, strict=True), *refused]
            else:
                answers = [(place, Unreachable("dropped unsent")) for place in self.places]
            self._heard(outlet.name, answers)

        outlet.submit(messages, self._batch.deadline, done)

    def _render(self, envelope: Envelope, place: int) -> Message | Permanent | Retry:
        """The message; a defect of ours costs this job an attempt and no other job anything."""
        job = self._batch.jobs[place]
        try:
            return render(envelope, job)
        except Exception as error:
            log.exception("job %d could not be rendered", job.id)
            return Retry(f"could not be rendered: {type(error).__name__}: {error}")

    def _heard(self, sink: str, answers: Sequence[tuple[int, Outcome]]) -> None:
        with self._lock:
            for place, outcome in answers:
                known = self._worst.get(place)
                if known is None or _graver(outcome, known[1]):
                    self._worst[place] = (sink, outcome)
            self._waiting -= 1
            if self._waiting:
                return
        if len(self.places) == len(self._batch.jobs):
            self._batch.answer([_named(*self._worst[place]) for place in self.places])
        else:
            for place in self.places:
                self._batch.answer([_named(*self._worst[place])], place)


def _graver(one: Outcome, other: Outcome) -> bool:
    return _GRAVITY.index(type(one)) < _GRAVITY.index(type(other))


def _named(sink: str, outcome: Outcome) -> Outcome:
    """Errors say which sink they came from."""
    match outcome:
        case Retry():
            return Retry(f"{sink}: {outcome.error}", outcome.ambiguous)
        case Permanent():
            return Permanent(f"{sink}: {outcome.error}")
        case _:
            return outcome
