"""One sink of a route, as the route sees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.lagging import Lag, LateAnswers
from riverbridge.bridge.outlet import Outlet
from riverbridge.engine.batch import Batch
from riverbridge.engine.pace import octets
from riverbridge.errors import TemplateError
from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry, Unreachable
from riverbridge.sinks.base import Message

log = logging.getLogger(__name__)


class Branch:
    """Sends jobs to one sink, in the route's envelope; knows whether the sink keeps up."""

    def __init__(
        self,
        route: str,
        outlet: Outlet,
        envelope: Envelope,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self.outlet = outlet
        self.envelope = envelope
        self.lag = Lag(outlet.name, clock)
        self.late = LateAnswers(clock)

    @property
    def name(self) -> str:
        """The sink's."""
        return self.outlet.name

    @property
    def awaited(self) -> bool:
        """Whether a job waits for what this sink answers, up to the patience."""
        return not self.lag.lagging and self.outlet.breaker.state == "closed"

    def out(self) -> float:
        """Seconds since it is closed or lags; 0 while it keeps up."""
        return max(self.lag.seconds(), self.outlet.breaker.open_for())

    def admitted(self, batch: Batch, places: Sequence[int]) -> Sequence[int]:
        """The first of these places, as many as the sink's limits let through; to be sent now."""
        if not self.outlet.limited:
            return places
        return places[: self.outlet.admit([batch.jobs[place] for place in places])]

    def take_back(self, batch: Batch, places: Sequence[int]) -> None:
        """These were admitted, and are not sent after all."""
        if self.outlet.limited and places:
            self.outlet.take_back([batch.jobs[place] for place in places])

    def send(
        self, batch: Batch, places: Sequence[int], done: Callable[[Sequence[Outcome]], None]
    ) -> None:
        """Render and deliver these jobs; `done` gets their outcomes, in the order of `places`."""
        sent: list[int] = []
        refused: dict[int, Outcome] = {}

        def messages() -> list[Message]:
            if batch.abandoned:
                return []
            rendered = []
            for place in places:
                job = batch.jobs[place]
                try:
                    rendered.append(self.envelope.render(job))
                except TemplateError as error:
                    refused[place] = Permanent(str(error))
                except Exception as error:
                    # A defect of ours costs this job an attempt and no other job anything.
                    log.exception("job %d could not be rendered", job.id)
                    text = f"could not be rendered: {type(error).__name__}: {error}"
                    refused[place] = Retry(text)
                else:
                    sent.append(place)
            return rendered

        def answered(outcomes: Sequence[Outcome]) -> None:
            if len(outcomes) != len(sent) or len(sent) + len(refused) != len(places):
                outcomes = [Unreachable("dropped unsent")] * len(places)
            elif refused:
                answers = refused | dict(zip(sent, outcomes, strict=True))
                outcomes = [answers[place] for place in places]
            done([self._named(outcome) for outcome in outcomes])

        deliver = self.outlet.under(self._route, batch.slot, sent)
        size = sum(octets(batch.jobs[p].args) for p in places) if self.outlet.weighs else 0
        self.outlet.submit(messages, batch.deadline, answered, deliver, size)

    def _named(self, outcome: Outcome) -> Outcome:
        """Errors say which sink they came from."""
        if type(outcome) is Delivered:
            return outcome
        match outcome:
            case Retry() | Permanent():
                return replace(outcome, error=f"{self.name}: {outcome.error}")
            case _:
                return outcome
