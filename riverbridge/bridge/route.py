"""A route: takes batches of jobs and delivers each job to all of its sinks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from riverbridge.bridge.envelope import Envelope, expired
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.receipts import note_receipts
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

    def __init__(
        self, name: str, sinks: Mapping[Outlet, Envelope], *, receipts: bool = False
    ) -> None:
        """receipts: keep what each sink said when it confirmed a job."""
        self.name = name
        self._sinks = dict(sinks)
        self._receipts = receipts

    def room(self) -> int:
        """How many jobs all of its sinks would take now."""
        return min(outlet.room() for outlet in self._sinks)

    def take(self, batch: Batch) -> None:
        """Hand the jobs that have no outcome yet to every sink; answer when all have spoken."""
        _answer_expired(batch)
        delivery = _Delivery(batch, waiting=len(self._sinks), receipts=self._receipts)
        if not delivery.places:
            return
        for outlet, envelope in self._sinks.items():
            delivery.send(outlet, envelope)

    def preview(self, job: ClaimedJob) -> list[tuple[str, Message | Permanent]]:
        """What would be sent, by sink name."""
        found: list[tuple[str, Message | Permanent]] = []
        for outlet, envelope in self._sinks.items():
            try:
                found.append((outlet.name, envelope.render(job)))
            except TemplateError as error:
                found.append((outlet.name, Permanent(str(error))))
        return found


def _answer_expired(batch: Batch) -> None:
    for place, job in enumerate(batch.jobs):
        if '"expires_at"' in job.metadata:
            try:
                over: Outcome | None = expired(job)
            except TemplateError as error:
                over = Permanent(str(error))
            if over is not None:
                batch.answer([over], place)


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


class _Delivery:
    """One batch on its way to the sinks of its route."""

    def __init__(self, batch: Batch, waiting: int, receipts: bool) -> None:
        self._batch = batch
        self._receipts = receipts
        self._waiting = waiting
        self._lock = threading.Lock()
        self.places = batch.open()
        self._worst: Sequence[Outcome] = ()

    def send(self, outlet: Outlet, envelope: Envelope) -> None:
        sent: list[int] = []
        refused: list[tuple[int, Outcome]] = []

        def messages() -> list[Message]:
            if self._batch.abandoned:
                return []
            jobs = self._batch.jobs
            rendered = []
            for place in self.places:
                try:
                    rendered.append(envelope.render(jobs[place]))
                except TemplateError as error:
                    refused.append((place, Permanent(str(error))))
                except Exception as error:
                    # A defect of ours costs this job an attempt and no other job anything.
                    log.exception("job %d could not be rendered", jobs[place].id)
                    text = f"could not be rendered: {type(error).__name__}: {error}"
                    refused.append((place, Retry(text)))
                else:
                    sent.append(place)
            return rendered

        def done(outcomes: Sequence[Outcome]) -> None:
            if len(outcomes) != len(sent) or len(sent) + len(refused) != len(self.places):
                outcomes = [Unreachable("dropped unsent")] * len(self.places)
            elif refused:
                answers = dict(refused) | dict(zip(sent, outcomes, strict=True))
                outcomes = [answers[place] for place in self.places]
            if self._receipts:
                note_receipts(self._batch, outlet.name, self.places, outcomes)
            self._heard([_named(outlet.name, outcome) for outcome in outcomes])

        outlet.submit(messages, self._batch.deadline, done)

    def _heard(self, outcomes: Sequence[Outcome]) -> None:
        """Take one sink's outcomes, in the order of `places`; the last one's make the answer."""
        with self._lock:
            self._worst = [*map(_graver, outcomes, self._worst)] if self._worst else outcomes
            self._waiting -= 1
            if self._waiting:
                return
        if len(self.places) == len(self._batch.jobs):
            self._batch.answer(self._worst)
        else:
            for place, outcome in zip(self.places, self._worst, strict=True):
                self._batch.answer([outcome], place)


def _graver(one: Outcome, other: Outcome) -> Outcome:
    return min(other, one, key=_gravity)


def _gravity(outcome: Outcome) -> tuple[int, float]:
    # Of two that failed, the one that asked to be left alone for longer.
    after = outcome.after if isinstance(outcome, Retry) else 0.0
    return _GRAVITY.index(type(outcome)), -after


def _named(sink: str, outcome: Outcome) -> Outcome:
    """Errors say which sink they came from."""
    if type(outcome) is Delivered:
        return outcome
    match outcome:
        case Retry() | Permanent():
            return replace(outcome, error=f"{sink}: {outcome.error}")
        case _:
            return outcome
