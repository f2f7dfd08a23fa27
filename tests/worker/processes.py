"""Worker processes without their threads: the same parts, taken step by step."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.keeper import Keeper
from riverbridge.engine.lane import Lane, Limits
from riverbridge.engine.pace import FULL_LOOK, Pace
from riverbridge.engine.settling import Aside
from riverbridge.engine.waking import Waker
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Outcome
from riverbridge.model.retry import FixedRetry
from riverbridge.store.database import Connect, Connection
from riverbridge.store.jobs import JobTable
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.elector import Elector
from riverbridge.upkeep.scheduler import Scheduler

Way = Literal["lock", "lease"]
Answers = Sequence[Outcome | None]
Told = tuple[int, str]
"""A job that was settled, and the state it got."""
Fence = tuple[int, int, str, datetime]
"""A job, the number of its attempt, who runs it and since when."""

QUEUE = "q"
BYTES = 1 << 20
_numbers = itertools.count(1)


@dataclass
class Out:
    """A leased job that waits for its answer."""

    id: int
    batch: Batch
    place: int


class Scripted:
    """A taker that answers each batch at once as it is told; None leaves a job unanswered."""

    def __init__(self) -> None:
        self.answers: Answers = ()
        self.meanwhile: Callable[[], None] = lambda: None
        self.taken: list[ClaimedJob] = []
        self.out: list[Out] = []
        self.settled: list[Told] = []

    def room(self) -> int:
        return len(self.answers)

    def take(self, batch: Batch) -> None:
        batch.on_settled = self._settled
        self.taken = list(batch.jobs)
        for place, (job, outcome) in enumerate(zip(batch.jobs, self.answers, strict=False)):
            if outcome is None:
                self.out.append(Out(job.id, batch, place))
            else:
                batch.answer([outcome], place)
        self.meanwhile()

    def answer(self, out: Out, outcome: Outcome) -> None:
        self.out.remove(out)
        out.batch.answer([outcome], out.place)

    def forget_abandoned(self) -> None:
        """The lane lost what it had handed over."""
        self.meanwhile = lambda: None
        self.out = [out for out in self.out if not out.batch.abandoned]

    def _settled(self, told: Sequence[tuple[ClaimedJob, Outcome, JobState]]) -> None:
        self.settled.extend((job.id, str(state)) for job, _, state in told)


class Process:
    """One process: a lane, a keeper and a leader's duties, on one connection.

    retry: seconds until the next attempt of a job it rescues. hold is none: what the taker does not
    answer at once becomes a lease.
    """

    def __init__(self, connect: Connect, connection: Connection, retry: float) -> None:
        """connect: for a clean end, which takes a connection of its own."""
        self.id = f"riverbridge_{next(_numbers)}"
        self.connection = connection
        self.retry = retry
        self.taker = Scripted()
        table = JobTable(None, self.id)
        self._feeds: dict[Way, Feed] = {
            way: Feed(way, QUEUE, self.taker, FixedRetry(retry), claiming=way)
            for way in ("lock", "lease")
        }
        feeds = list(self._feeds.values())
        looks = itertools.count(step=FULL_LOOK)  # each claim looks at all
        self._paces = {
            feed: Pace(
                claiming=feed.claiming,
                batch_size=100,
                batch_bytes=BYTES,
                hold=0.0,
                clock=lambda: next(looks),
            )
            for feed in feeds
        }
        aside = Aside()
        self._lane = Lane(
            connect=connect,
            table=table,
            waker=Waker(feeds),
            paces=self._paces,
            aside=aside,
            limits=Limits(hold=0.0, deadline=float("inf")),
            byte_budget=BYTES,
        )
        self._keeper = Keeper(
            connect=connect,
            jobs=table,
            processes=ProcessTable(None, id=self.id, host="h", pid=1, version="0"),
            queues=QueueTable(None),
            feeds=feeds,
            wakers=[],
            aside=aside,
            held=self._lane.leased,
        )
        self.elector = Elector(client_id=self.id)
        self.beat()

    def beat(self) -> None:
        """Say that it lives."""
        self._do(self._keeper._beat)

    def claim(self, way: Way, answers: Answers) -> list[ClaimedJob]:
        """One round of the lane for at most as many jobs as there are answers."""
        self.taker.answers, self.taker.taken = answers, []
        self._lane._cycle(self.connection, self._feeds[way], len(answers), threading.Event())
        return self.taker.taken

    def settle(self) -> list[Told]:
        """Write what was answered of the leases; what was written, as the taker was told."""
        self.taker.settled = []
        self._lane._leases.settle_answered(self.connection)
        return self.taker.settled

    def fences(self) -> list[Fence]:
        """What proves each of the leases that it believes to hold."""
        out = [lease for out in self._lane._leases._out for lease in out.leases.values()]
        return [(lease.job.id, lease.attempt, lease.owner, lease.claimed_at) for lease in out]

    def rescue(self) -> None:
        """Take back what silent processes held, whenever they were last looked at."""
        self._keeper._empty.clear()
        self._do(self._keeper._rescue)

    def stop(self) -> list[Told]:
        """A clean end: leases are handed back, then the process signs off."""
        self.taker.settled = []
        self._lane._leases.hand_back(self.connection)
        self._keeper.sign_off()
        return self.taker.settled

    def schedule(self) -> None:
        """The leader's scheduler, once."""
        Scheduler().step(self.connection, 5.0)

    def clean(self) -> None:
        """The leader's cleaner, once, where only completed jobs are not kept."""
        Cleaner(completed=timedelta(0), cancelled=None, discarded=None).step(self.connection, 5.0)

    def _do(self, step: Callable[[Connection], None]) -> None:
        self._keeper._do(self.connection, step.__name__, step)
