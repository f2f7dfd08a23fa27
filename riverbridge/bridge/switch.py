"""Several routes of one queue, told apart by conditions: each job goes to the first that takes it.

They share one claim: with a claim each, every route would lock the jobs of the others. What none
takes is left where it is (`riverbridge.engine.sieve`) or fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from riverbridge.bridge.condition import Condition
from riverbridge.engine.batch import Batch, Taker, Terms
from riverbridge.engine.sieve import Sorted
from riverbridge.errors import ConditionError
from riverbridge.model import globs
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Cancelled, Outcome, Retry
from riverbridge.model.receipt import Receipt

REMEMBERED = 20_000
"""Choices kept between the claim and the hand-over."""


@dataclass(frozen=True, eq=False)
class Case:
    """A route of the queue: which jobs it takes, and how those are tried again.

    kinds: globs. oldest: jobs due before this are cancelled, not delivered.
    """

    name: str
    taker: Taker
    terms: Terms
    kinds: tuple[str, ...] = ("*",)
    condition: Condition | None = None
    oldest: datetime | None = None

    def takes(self, job: ClaimedJob) -> bool:
        """Raises ConditionError for a job that the condition cannot judge."""
        return globs.matches(self.kinds, job.kind) and (
            self.condition is None or self.condition.holds(job)
        )


def untaken(job: ClaimedJob) -> str:
    """Why a job of a queue with conditions goes nowhere."""
    return f"no route of queue {job.queue} takes the kind {job.kind}, or this job of it"


class Switch:
    """The taker of such a queue. Any thread may call."""

    def __init__(self, cases: Sequence[Case], *, fail: bool) -> None:
        """cases: in the order in which they are asked. fail: what none takes fails; else it is
        left."""
        self._cases = tuple(cases)
        self._fail = fail
        self._chosen: dict[int, Case | Retry | None] = {}

    def room(self) -> int:
        """As much as any route has: a closed sink holds up its own route's jobs only."""
        return max(case.taker.room() for case in self._cases)

    def choose(self, job: ClaimedJob) -> Case | Retry | None:
        """The first route that takes `job`; the failure of a condition asked before; or nothing."""
        for case in self._cases:
            try:
                if case.takes(job):
                    return case
            except ConditionError as error:
                return Retry(f"route {case.name}: {error}")
        return None

    def sort(self, jobs: Sequence[ClaimedJob]) -> Sorted:
        """Which of the claimed jobs to take now (`riverbridge.engine.sieve.Sieve`)."""
        taken: list[ClaimedJob] = []
        unmatched: list[ClaimedJob] = []
        waiting: list[ClaimedJob] = []
        room = {case: case.taker.room() for case in self._cases}
        if len(self._chosen) > REMEMBERED:
            self._chosen.clear()
        for job in jobs:
            choice = self.choose(job)
            if choice is None and not self._fail:
                unmatched.append(job)
                continue
            if isinstance(choice, Case):
                if room[choice] <= 0:
                    waiting.append(job)
                    continue
                room[choice] -= 1
            self._chosen[job.id] = choice
            taken.append(job)
        return Sorted(taken, unmatched, waiting)

    def take(self, batch: Batch) -> None:
        """Hand each job to its route, or answer for it."""
        shares: dict[Case, list[int]] = {}
        for place in batch.open():
            job = batch.jobs[place]
            choice = self._chosen.pop(job.id, None) or self.choose(job)
            if choice is None:
                batch.answer([Retry(untaken(job))], place)
            elif isinstance(choice, Retry):
                batch.answer([choice], place)
            elif choice.oldest is not None and job.scheduled_at < choice.oldest:
                text = f"older than the route's max_age: due {job.scheduled_at}"
                batch.answer([Cancelled(text)], place)
            else:
                shares.setdefault(choice, []).append(place)
        for case, places in shares.items():
            whole = len(places) == len(batch.jobs)
            case.taker.take(batch if whole else _Share(batch, places))

    def terms(self, job: ClaimedJob) -> Terms | None:
        """How the route that takes `job` tries again; None where none does."""
        choice = self.choose(job)
        return choice.terms if isinstance(choice, Case) else None


class _Share(Batch):
    """The jobs of a batch that go to one route; its answers are the batch's."""

    def __init__(self, whole: Batch, places: Sequence[int]) -> None:
        super().__init__([whole.jobs[place] for place in places], whole.deadline)
        self._whole = whole
        self._places = places

    def answer(self, outcomes: Sequence[Outcome], start: int = 0) -> None:
        super().answer(outcomes, start)
        for place, outcome in zip(self._places[start:], outcomes, strict=False):
            self._whole.answer([outcome], place)

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        self._whole.add_receipts(receipts)

    @property
    def abandoned(self) -> bool:
        return self._whole.abandoned
