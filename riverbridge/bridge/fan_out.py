"""A batch on its way to several sinks: each gets its share, and no job waits long for one of them.

A job waits for a sink that lags at most the route's patience beyond the fastest sink's answer, and
not at all for one that is closed, busy or known to lag. Then it is parked: its row remembers who
has it, and comes back later for the others. A share that is out is not called back: what its sink
answers then is kept until its jobs come again.
"""

from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from riverbridge.bridge.alarms import Alarms
from riverbridge.bridge.branch import Branch
from riverbridge.bridge.lagging import Shown
from riverbridge.bridge.memory import (
    FORGOTTEN,
    NOTHING,
    Memory,
    note_delivered,
    note_parked,
    recall,
)
from riverbridge.bridge.receipts import note_receipts
from riverbridge.engine.batch import Batch
from riverbridge.model.outcome import (
    Cancelled,
    Completed,
    Delivered,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
    Withheld,
)
from riverbridge.model.settlement import LAST_ATTEMPT

FIRST_PARKING, LONGEST_PARKING = 5.0, 300.0
"""Seconds until a parked job comes back by itself: doubles from the first to the longest."""

NO_ROOM = Withheld("its sink's limit was reached by other routes or lanes in this moment")

SPREAD = 1.5
"""And up to so many times that: the jobs of the first second would come back in one."""

OUTAGE_FACTOR = 4.0
"""And it is not shorter than so many times what its sink has been out for. A return in vain costs
three row versions; with this, an outage is five times as old at each return of a job, and all
returns are a quarter of the new jobs. When the sink is back they are brought forward anyway."""

_GRAVITY: tuple[type[Outcome], ...] = (Permanent, Cancelled, Snoozed, Retry)
"""Of several sinks' refusals the first of these is the job's: refused for good by one is refused;
else one that had no turn for it yet; else one that failed spends the attempt. Only a job that none
refused is parked for those that did not answer."""

Answer = Callable[[Sequence[int], Sequence[Outcome], Mapping[int, Branch]], None]
"""Given places, their outcomes, and by place which sink it was that refused."""


def parking_time(times: int, out: float = 0.0) -> float:
    """Seconds until a job comes back that was parked `times` times before; out: as `Branch.out`."""
    wait = max(FIRST_PARKING * 2.0 ** min(times, 16), OUTAGE_FACTOR * out)
    return min(LONGEST_PARKING, SPREAD * wait) * random.uniform(1 / SPREAD, 1)  # noqa: S311 - jitter


class _Share:
    """What one sink gets of the batch."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.places: Sequence[int] = []
        """What is sent."""
        self.known: dict[int, Outcome] = {}
        """What it answered for jobs that it got before."""
        self.awaiting: list[int] = []
        """What was sent before and is not answered yet."""
        self.outcomes: Sequence[Outcome] | None = None
        """Its answers, in the order of `places`."""
        self.closed = False
        """Nothing can be sent: the breaker is open."""
        self.awaited = False

    @property
    def out(self) -> bool:
        return bool(self.places) and self.outcomes is None

    def answers(self) -> Mapping[int, Outcome]:
        """What it said so far, by place."""
        return self.known | dict(zip(self.places, self.outcomes or (), strict=False))


class FanOut:
    """One batch; `start` it once."""

    def __init__(
        self,
        batch: Batch,
        places: Sequence[int],
        branches: Sequence[Branch],
        *,
        patience: float,
        alarms: Alarms,
        receipts: bool = False,
        answer: Answer,
    ) -> None:
        """places: the jobs that have no outcome yet. patience: seconds. receipts: keep those of
        what the jobs' answers are made of, also where a sink gave its part of it late."""
        self._batch = batch
        self._places = places
        self._patience = patience
        self._alarms = alarms
        self._receipts = receipts
        self._answer = answer
        self._names = frozenset(branch.name for branch in branches)
        self._memories = {
            place: memory
            for place in places
            if (memory := recall(batch.jobs[place], self._names)) is not NOTHING
        }
        self._lock = threading.Lock()
        self._over = False
        self._began = alarms.clock()
        self._first: float | None = None
        """When the first sink answered, or had before for every job."""
        self._beyond: set[int] = set()
        """Jobs that a sink's limit does not let through now, though it keeps up."""
        self._shares = [self._share(branch) for branch in branches]
        if self._beyond:
            self._withhold()
        self._waiting = sum(share.awaited for share in self._shares)

    def start(self) -> None:
        """Send each share; answer for the jobs when those that are awaited have spoken."""
        known = {place for place, memory in self._memories.items() if memory.delivered}
        if len(known) == len(self._places):
            self._spoke()
        for share in self._shares:
            if share.places:
                share.branch.send(self._batch, share.places, self._heard(share))
        self._conclude(lambda: self._waiting == 0)

    def _share(self, branch: Branch) -> _Share:
        share = _Share(branch)
        room, awaited = branch.outlet.room(), branch.awaited
        share.closed = room == 0 and branch.outlet.breaker.state != "closed"
        if not self._memories and branch.late.empty:
            share.places = list(self._places) if awaited else list(self._places[:room])
        else:
            wanted = [place for place in self._places if self._wanted(share, place)]
            share.places = wanted if awaited else wanted[:room]
        wanted, share.places = share.places, branch.admitted(self._batch, share.places)
        if awaited:
            self._beyond.update(wanted[len(share.places) :])
        share.awaited = awaited and bool(share.places)
        return share

    def _withhold(self) -> None:
        """Leave jobs for which a sink has no room in this moment to a later claim.

        But for those of which a late answer was just taken from the sink's memory.
        """
        beyond = self._beyond.difference(*(share.known for share in self._shares))
        for share in self._shares:
            back = [place for place in share.places if place in beyond]
            share.branch.take_back(self._batch, back)
            share.places = [place for place in share.places if place not in beyond]
            share.awaited = share.awaited and bool(share.places)
        self._places = [place for place in self._places if place not in beyond]
        withheld = sorted(beyond)
        self._answer(withheld, [NO_ROOM] * len(withheld), {})

    def _wanted(self, share: _Share, place: int) -> bool:
        """Whether the sink has neither this job nor its message."""
        memory = self._memories.get(place, NOTHING)
        if share.branch.name in memory.delivered:
            return False
        job = self._batch.jobs[place]
        shown = (job.attempt, memory.times, memory.replay)
        sent, outcome = share.branch.late.recall(job.id, shown)
        if outcome is not None:
            share.known[place] = outcome
        elif sent:
            share.awaiting.append(place)
        return not sent

    def _heard(self, share: _Share) -> Callable[[Sequence[Outcome]], None]:
        def heard(outcomes: Sequence[Outcome]) -> None:
            with self._lock:
                if share.outcomes is not None:
                    return
                share.outcomes = outcomes
                self._waiting -= share.awaited
                self._judge(share)
                if self._over:
                    for place, outcome in zip(share.places, outcomes, strict=True):
                        share.branch.late.heard(self._batch.jobs[place].id, outcome)
                    return
            self._conclude(lambda: self._waiting == 0)

        return heard

    def _judge(self, share: _Share) -> None:
        """Learn from when it answered, if it did."""
        assert share.outcomes is not None
        if all(isinstance(outcome, Unreachable | Misconfigured) for outcome in share.outcomes):
            return
        if self._first is None:
            self._spoke()
        assert self._first is not None
        if self._alarms.clock() - self._first <= self._patience:
            share.branch.lag.in_time(self._began)
        else:
            share.branch.lag.late(self._began)

    def _spoke(self) -> None:
        """From now on the others have as long as the patience."""
        self._first = self._alarms.clock()
        if self._waiting:
            # Of a batch that is done by then nothing is to be kept for that.
            late = weakref.WeakMethod(self._out_of_patience)
            self._alarms.at(self._first + self._patience, lambda: (ring := late()) and ring())

    def _out_of_patience(self) -> None:
        def late() -> bool:
            for share in self._shares:
                if share.awaited and share.out:
                    share.branch.lag.late(self._alarms.clock())
            return True

        self._conclude(late)

    def _conclude(self, ready: Callable[[], bool]) -> None:
        """Answer for all jobs, once."""
        with self._lock:
            if self._over or not ready():
                return
            self._over = True
            refused_by: dict[int, Branch] = {}
            outcomes = self._all_delivered()
            if outcomes is None:
                outcomes = self._outcomes(refused_by)
            if self._receipts:
                self._note_receipts()
        self._answer(self._places, outcomes, refused_by)

    def _note_receipts(self) -> None:
        for share in self._shares:
            answers = share.answers()
            note_receipts(self._batch, share.branch.name, [*answers], [*answers.values()])

    def _all_delivered(self) -> Sequence[Outcome] | None:
        """The usual case."""
        for share in self._shares:
            if len(share.places) < len(self._places) or share.outcomes is None:
                return None
            if not all(type(outcome) is Delivered for outcome in share.outcomes):
                return None
        # What a job noted while it waited is to be taken back now.
        waited = any(memory.waited for memory in self._memories.values())
        return None if waited else self._shares[0].outcomes

    def _outcomes(self, refused_by: dict[int, Branch]) -> list[Outcome]:
        answers = [(share, share.answers()) for share in self._shares]
        out = {share.branch.name: share.branch.out() for share in self._shares}
        results: dict[int, Outcome] = {}
        for place in self._places:
            memory = self._memories.get(place, NOTHING)
            delivered, missing = set(memory.delivered), []
            worst: Outcome | None = None
            for share, said in answers:
                outcome = said.get(place)
                if share.branch.name in memory.delivered or type(outcome) is Delivered:
                    delivered.add(share.branch.name)
                elif outcome is None or isinstance(outcome, Unreachable | Misconfigured):
                    missing.append((share, outcome))
                elif worst is None or _gravity(outcome) < _gravity(worst):
                    worst, refused_by[place] = outcome, share.branch
            noted = note_delivered(delivered)
            if worst is not None:
                results[place] = _noting(worst, noted)
            elif not missing:
                results[place] = Completed(FORGOTTEN) if memory.waited else Delivered()
            elif len(missing) == len(answers) and (nobody := _nobody(missing)) is not None:
                results[place] = nobody
            else:
                results[place] = self._parked(memory, noted, missing, out)
        self._expect(results)
        return list(results.values())

    def _parked(
        self,
        memory: Memory,
        noted: str | None,
        missing: Sequence[tuple[_Share, Outcome | None]],
        out: Mapping[str, float],
    ) -> Parked:
        names = [share.branch.name for share, _ in missing]
        for share, _ in missing:
            share.branch.outlet.left_waiting()
        seconds = parking_time(memory.times, max(out[name] for name in names))
        return Parked(seconds, note_parked(noted, names, memory.times + 1))

    def _expect(self, results: Mapping[int, Outcome]) -> None:
        """Have the answers kept that are still to come, by what the rows will show then."""
        until = self._batch.deadline + 1.0
        for share in self._shares:
            late = share.branch.late
            for place in share.places if share.out else ():
                late.expect(*self._will_show(place, results[place]), until)
            for place in share.awaiting:
                late.follow(*self._will_show(place, results[place]))

    def _will_show(self, place: int, result: Outcome) -> tuple[int, Shown]:
        """The job's id, and what its row shows when it comes again."""
        job, memory = self._batch.jobs[place], self._memories.get(place, NOTHING)
        spent = isinstance(result, Retry | Permanent | Cancelled)
        attempt = min(job.attempt + spent, LAST_ATTEMPT)
        return job.id, (attempt, memory.times + isinstance(result, Parked), memory.replay)


def _nobody(missing: Sequence[tuple[_Share, Outcome | None]]) -> Outcome | None:
    """What releases a job as it was, where no sink at all can be reached; None if one may be."""
    if any(outcome is None and not share.closed for share, outcome in missing):
        return None
    said = [outcome for _, outcome in missing if outcome is not None]
    wrong = [outcome for outcome in said if isinstance(outcome, Misconfigured)]
    return next(iter([*wrong, *said]), None) or Unreachable(
        missing[0][0].branch.outlet.breaker.reason
    )


def _noting(outcome: Outcome, noted: str | None) -> Outcome:
    """The outcome, with who has the job."""
    if noted is not None and isinstance(outcome, Permanent | Cancelled | Snoozed | Retry):
        return replace(outcome, metadata=noted)
    return outcome


def _gravity(outcome: Outcome) -> tuple[int, float]:
    # Of two that failed, the one that asked to be left alone for longer.
    after = outcome.after if isinstance(outcome, Retry) else 0.0
    return _GRAVITY.index(type(outcome)), -after
