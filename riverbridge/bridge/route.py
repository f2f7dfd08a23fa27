"""A route: takes batches of jobs and delivers each job to all of its sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from riverbridge.bridge.alarms import Alarms
from riverbridge.bridge.branch import Branch
from riverbridge.bridge.dead_letters import DeadLetters, lost
from riverbridge.bridge.envelope import Envelope, expired
from riverbridge.bridge.fan_out import NO_ROOM, FanOut
from riverbridge.bridge.limits import ANY
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.receipts import note_receipts
from riverbridge.engine.batch import LOST, Batch
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Outcome, Permanent, Retry
from riverbridge.sinks.base import Message

log = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds a job waits for a sink beyond the fastest one's answer, unless the route says more."""


class Route:
    """The bridge's taker (`riverbridge.engine.batch.Taker`)."""

    def __init__(
        self,
        name: str,
        sinks: Mapping[Outlet, Envelope],
        *,
        patience: float = PATIENCE,
        dead_letters: DeadLetters | None = None,
        alarms: Alarms | None = None,
        receipts: bool = False,
    ) -> None:
        """patience: seconds; for several sinks. dead_letters: what gets a job before its discard.
        alarms: shared by the routes of a process. receipts: keep what each sink said when it
        confirmed a job.
        """
        self.name = name
        self._patience = patience
        self._dead_letters = dead_letters
        self._alarms = alarms or Alarms()
        self._receipts = receipts
        self._paused = ""
        self._branches = [
            Branch(name, outlet, envelope, self._alarms.clock) for outlet, envelope in sinks.items()
        ]

    def pause(self, why: str) -> None:
        """Take no more jobs as long as there is a reason; "" ends it. What is out goes on."""
        if bool(why) != bool(self._paused):
            log.info("route %s is %s", self.name, why or "no longer paused")
        self._paused = why

    def room(self) -> int:
        """How many jobs it would take now: 0 where it is paused or no sink is open, and for a
        moment also where one that keeps up has all its threads out."""
        if self._paused:
            return 0
        if len(self._branches) == 1:
            return self._branches[0].outlet.room()
        for branch in self._branches:
            if branch.awaited and (full := branch.outlet.full_for()):
                if full <= self._patience:
                    return 0
                branch.lag.late(self._alarms.clock())
        room = max(branch.outlet.room() for branch in self._branches)
        # What is claimed goes to all that keep up: the one with the lowest limit sets the pace.
        limited = [b.outlet.room() for b in self._branches if b.outlet.limited and b.awaited]
        return min(room, *limited) if limited else room

    @property
    def weighs(self) -> bool:
        """Whether it matters how large jobs are."""
        return any(branch.outlet.weighs for branch in self._branches)

    def bytes_left(self) -> int:
        """How many bytes of args it would take now; the last job may exceed them."""
        alone = len(self._branches) == 1
        return min(
            (b.outlet.bytes_left() for b in self._branches if alone or b.awaited), default=ANY
        )

    def take(self, batch: Batch) -> None:
        """Hand the jobs that have no outcome yet to every sink that lacks them."""
        places = self._undecided(batch)
        if not places:
            return
        if len(self._branches) == 1:
            [branch] = self._branches
            wanted, places = places, branch.admitted(batch, places)
            for place in wanted[len(places) :]:
                batch.answer([NO_ROOM], place)
            if not places:
                return
            refused_by = dict.fromkeys(places, branch) if self._dead_letters else {}

            def answered(outcomes: Sequence[Outcome]) -> None:
                if self._receipts:
                    note_receipts(batch, branch.name, places, outcomes)
                self._answer(batch, places, outcomes, refused_by)

            branch.send(batch, places, answered)
            return
        FanOut(
            batch,
            places,
            self._branches,
            patience=self._patience,
            alarms=self._alarms,
            receipts=self._receipts,
            answer=lambda *answer: self._answer(batch, *answer),
        ).start()

    def waits(self) -> Iterator[tuple[Outlet, Callable[[], Sequence[int]]]]:
        """The sinks its jobs may be parked for, and the jobs whose answer is out there."""
        if len(self._branches) > 1:
            for branch in self._branches:
                yield branch.outlet, branch.late.out
        if self._dead_letters is not None:
            yield self._dead_letters.outlet, tuple

    def preview(self, job: ClaimedJob) -> list[tuple[str, Message | Permanent]]:
        """What would be sent, by sink name."""
        found: list[tuple[str, Message | Permanent]] = []
        for branch in self._branches:
            try:
                found.append((branch.name, branch.envelope.render(job)))
            except TemplateError as error:
                found.append((branch.name, Permanent(str(error))))
        return found

    def _undecided(self, batch: Batch) -> Sequence[int]:
        """The places of the jobs to be sent; the others are answered here."""
        over: dict[int, Outcome] = {}
        for place, job in enumerate(batch.jobs):
            if ('"expires_at"' in job.metadata or LOST in job.metadata) and (
                outcome := self._decided(job)
            ):
                over[place] = outcome
        places = batch.open()
        if over:
            now = [place for place in places if place in over]
            self._answer(batch, now, [over[place] for place in now], {})
        return [place for place in places if place not in over] if over else places

    def _decided(self, job: ClaimedJob) -> Outcome | None:
        """What becomes of a job that is not to be sent to its sinks."""
        if self._dead_letters is not None and (dead := lost(job)) is not None:
            return dead
        try:
            return expired(job)
        except TemplateError as error:
            return Permanent(str(error))

    def _answer(
        self,
        batch: Batch,
        places: Sequence[int],
        outcomes: Sequence[Outcome],
        refused_by: Mapping[int, Branch],
    ) -> None:
        """Answer for these jobs; what is to be discarded only after its dead letter."""
        if self._dead_letters is not None:
            places, outcomes = self._dead_letters.take(batch, places, outcomes, refused_by)
        if len(places) == len(batch.jobs):
            batch.answer(outcomes)
        else:
            for place, outcome in zip(places, outcomes, strict=True):
                batch.answer([outcome], place)


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
