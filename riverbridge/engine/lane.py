"""The lane: claim, hand over, settle, all under the row lock.

    begin → claim: lock up to 1000 rows
          → hand over: the taker delivers them (or runs their functions); one outcome per job
          → settle: each row is written once → commit

The row lock is the lease and the connection is the fence: when either end dies, Postgres gives the
rows back and nothing was written. What is not answered within `hold` becomes leases in that same
transaction, so that others wait for our locks at most that long. A lane is straight-line code in a
thread of its own; it knows takers and outcomes, not sinks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event

import psycopg

from riverbridge import telemetry
from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.claims import ByPriority
from riverbridge.engine.leases import LeaseBook
from riverbridge.engine.ordered import Ordered
from riverbridge.engine.pace import Pace
from riverbridge.engine.settler import Settler
from riverbridge.engine.settling import Aside, write_receipts
from riverbridge.engine.slots import Slot
from riverbridge.engine.waking import Waker
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Cancelled, Delivered, Unreachable
from riverbridge.model.settlement import LAST_ATTEMPT, Lease
from riverbridge.store.database import Connect, Connection, cut, lost, open_connection, transaction
from riverbridge.store.jobs import JobTable

log = logging.getLogger(__name__)

FAULT_REST = 0.2
"""Seconds before a lane starts over after a fault."""


@dataclass(frozen=True)
class Limits:
    """hold: seconds a row lock is held for an answer. deadline: seconds a delivery may take.

    guarded: jobs per feed that a lane serves as leases before it trusts them: a process died here,
    and the job that killed it, if one did, is to be charged for it. alone: one at a time, so that
    no other job is charged with it; for jobs that are over in a moment.
    """

    hold: float = 1.0
    deadline: float = 10.0
    guarded: int = 0
    alone: bool = True


class Lane:
    """One thread, one connection; serves the feeds of its waker in turn."""

    def __init__(
        self,
        *,
        connect: Connect,
        table: JobTable,
        waker: Waker,
        paces: Mapping[Feed, Pace],
        orders: Mapping[Feed, Ordered] | None = None,
        aside: Aside,
        limits: Limits,
        byte_budget: int,
    ) -> None:
        self._connect = connect
        self._table = table
        self._waker = waker
        self._paces = paces
        self._orders = {} if orders is None else orders
        self._aside = aside
        self._limits = limits
        self._byte_budget = byte_budget
        self._settler = Settler(table, waker, paces, aside)
        self._leases = LeaseBook(table, aside, self._settled)
        self._guarded = dict.fromkeys(paces, limits.guarded)
        self._turn: Feed | None = None
        self._more = False
        self._to_hand = 0
        self._connection: Connection | None = None
        self.progress = time.monotonic()
        """When this lane last went round (time.monotonic): readiness watches it."""

    def leased(self) -> set[int]:
        """The jobs whose leases this lane knows of. Any thread may call."""
        return self._leases.ids()

    @property
    def guarding(self) -> bool:
        """Whether jobs are still served one at a time, because a process died here."""
        return any(left > 0 for left in self._guarded.values())

    def run(self, stop: Event, grace: float = 25.0) -> None:
        """Serve until `stop`, then settle what is out, until `grace` seconds after it."""
        while not stop.is_set():
            connection = open_connection(self._connect, stop)
            if connection is None:
                break
            self._connection = connection
            try:
                with connection:
                    self._serve(connection, stop)
            except psycopg.Error as error:
                if lost(connection):
                    log.warning("lost the connection to Postgres: %s", str(error).strip())
                else:
                    log.error("a statement failed, starting over: %s", str(error).strip())
                stop.wait(FAULT_REST)
        if self._leases:
            # The last round began before the stop, and may have held its rows since.
            began = max(self.progress, time.monotonic() - self._limits.hold)
            self._drain(began + grace)

    def unstick(self) -> None:
        """End the connection under a lane that makes no progress: its server may hang."""
        connection = self._connection
        if connection is not None and not connection.closed:
            log.error("Postgres does not answer this lane; its connection is cut")
            cut(connection)

    def _serve(self, connection: Connection, stop: Event) -> None:
        while not stop.is_set():
            self.progress = time.monotonic()
            self._leases.settle_answered(connection)
            turn = self._waker.next(0.02 if self._leases else 0.5)
            if turn is None:
                continue
            feed, room = turn
            self._turn = feed
            try:
                self._cycle(connection, feed, room, stop)
            finally:
                # Also after an error: a feed that is never handed back would be lost to all lanes.
                self._claimed(full=self._more)
                self._handed(feed, self._to_hand)
                if (order := self._orders.get(feed)) is not None:
                    rest = self._waker.rest if order.foreign else self._waker.look
                    rest(feed, order.again)

    def _claimed(self, *, full: bool, jobs: int = 0) -> None:
        """Hand the feed back to the waker, once per turn: others may claim from it now."""
        if self._turn is not None:
            self._waker.claimed(self._turn, full=full, jobs=jobs)
            self._turn = None
            self._to_hand = jobs

    def _settled(self, feed: Feed) -> None:
        """Leases have ended: where there is an order, the next ones of their keys may go."""
        if feed in self._orders:
            self._waker.look(feed, 0.0)

    def _handed(self, feed: Feed, jobs: int) -> None:
        """The taker has so many of the claimed jobs, and counts them itself."""
        jobs = min(jobs, self._to_hand)
        if jobs:
            self._waker.handed(feed, jobs)
            self._to_hand -= jobs

    def _drain(self, until: float) -> None:
        try:
            with self._connect() as connection:
                while self._leases and (left := until - time.monotonic()) > 0:
                    self._leases.wait(min(0.1, left))
                    self._leases.settle_answered(connection)
                handed_back = self._leases.hand_back(connection)
        except psycopg.Error as error:
            log.warning("could not settle what was out; it will be rescued: %s", str(error).strip())
        else:
            if handed_back:
                log.warning("handed %d unanswered jobs back at the end of the grace", handed_back)

    def _cycle(self, connection: Connection, feed: Feed, room: int, stop: Event) -> None:
        """One claim and what follows, under a slot where the feed has some."""
        if feed.slots is None:
            self._work(connection, feed, room, stop, None)
            return
        with feed.slots.for_a_turn() as slot:
            if slot is None:
                self._claimed(full=True)  # another lane took the last one: soon again
            else:
                self._work(connection, feed, room, stop, slot)

    def _work(
        self, connection: Connection, feed: Feed, most: int, stop: Event, slot: Slot | None
    ) -> None:
        """Claim up to `most` jobs, and see to them."""
        pace, order = self._paces[feed], self._orders.get(feed)
        guarded = self._guarded.get(feed, 0) > 0
        alone = guarded and self._limits.alone
        began, hold = time.monotonic(), self._limits.hold
        out: list[Batch] = []
        try:
            with transaction(connection, idle=hold + 4, total=hold + 9):
                jobs = self._claim(connection, feed, 1 if alone else min(pace.limit, most))
                if not jobs:
                    return
                to_lease, to_hold = (jobs, ()) if guarded else pace.slowness.split(jobs)
                if to_lease:
                    slow = self._hand_out(feed, to_lease)
                    out.append(slow)
                    leases = self._settler.lease(connection, feed, to_lease)
                    _withhold(slow, leases)
                    if feed.slots is not None and slot is not None:
                        feed.slots.book(connection, slot, slow, alone=alone)
                if to_hold:
                    quick = self._hand_out(feed, to_hold)
                    out.append(quick)
                    late = self._hold(connection, feed, quick, began)
        except BaseException:
            for batch in out:
                batch.abandon()
            if order is not None:
                order.forget()
            raise
        telemetry.transaction_seconds.record(time.monotonic() - began, {"route": feed.name})
        if to_hold:
            self._leases.add(feed, quick, late, None)
            self._tell(feed, quick, late)
            quick.leased()
        if to_lease:
            # Before the taker sees them: should it raise, the book hands them back.
            self._leases.add(feed, slow, leases, None if guarded else pace.slowness)
            slow.leased()
            # Only now: the leases are committed, and a crash from here on is charged to them.
            feed.taker.take(slow)
            self._handed(feed, len(to_lease))
        if guarded:
            self._guarded[feed] -= len(jobs)
        if alone:
            self._wait_alone(connection, slow, stop)

    def _wait_alone(self, connection: Connection, batch: Batch, stop: Event) -> None:
        """If the process dies now, the job of `batch` is the one that is charged."""
        until = time.monotonic() + self._limits.deadline
        while not (batch.wait(0.1) or stop.is_set() or time.monotonic() > until):
            pass
        self._leases.settle_answered(connection)

    def _hold(self, connection: Connection, feed: Feed, batch: Batch, began: float) -> list[Lease]:
        """Hand over under the row locks; what is answered in time is settled, the rest leased."""
        claimed = time.monotonic()
        if feed in self._orders:
            self._orders[feed].hand_over(batch, feed.taker, self._limits.hold / 2)
        else:
            feed.taker.take(batch)
        self._handed(feed, len(batch.jobs))
        ahead = self._settler.ahead(connection, feed, batch)
        if not batch.wait(self._limits.hold - (time.monotonic() - began)) and batch.on_late:
            batch.on_late()
        telemetry.deliver_seconds.record(time.monotonic() - claimed, {"route": feed.name})
        late = self._settler.settle(connection, feed, batch, ahead=ahead)
        write_receipts(connection, self._table, batch.take_receipts())
        self._paces[feed].slowness.held(
            (job.kind for job in batch.jobs), (lease.job.kind for lease in late)
        )
        return late

    def _claim(self, connection: Connection, feed: Feed, limit: int) -> Sequence[ClaimedJob]:
        """Lock the feed's next jobs; those that its taker takes."""
        began = time.monotonic()
        self._more = False
        claims = self._orders.get(feed) or ByPriority(self._table, feed, self._paces[feed])
        budget = self._byte_budget
        if feed.bytes_left is not None:
            budget = min(budget, max(1, feed.bytes_left()))
        jobs = claims.claim(connection, limit, byte_budget=budget, aside=self._aside.ids())
        self._more = claims.more
        if feed not in self._orders:  # else nobody claims before this batch is settled
            self._claimed(full=self._more, jobs=len(jobs))
        if jobs:
            labels = {"route": feed.name}
            telemetry.claim_seconds.record(time.monotonic() - began, labels)
            telemetry.batch_size.record(len(jobs), labels)
        elif feed in self._guarded and (feed not in self._orders or self._orders[feed].owner):
            self._guarded[feed] = 0
        return jobs if feed.sieve is None else feed.sieve.sift(jobs)

    def _hand_out(self, feed: Feed, jobs: Sequence[ClaimedJob]) -> Batch:
        """The batch for the taker; jobs it is not to see are answered here."""
        batch = Batch(jobs, time.monotonic() + self._limits.deadline)
        for place, job in enumerate(jobs):
            if job.attempt >= LAST_ATTEMPT:
                log.warning(
                    "job %d is at attempt %d, the column's largest; it is worked once more and the "
                    "number stays",
                    job.id,
                    job.attempt,
                )
            if feed.oldest is not None and job.scheduled_at < feed.oldest:
                batch.answer(
                    [Cancelled(f"older than the route's max_age: due {job.scheduled_at}")], place
                )
        return batch

    def _tell(self, feed: Feed, batch: Batch, leases: Sequence[Lease]) -> None:
        """Say what the claim's own transaction settled: all that is answered and not leased."""
        left = {lease.job.id for lease in leases}.union(self._aside.ids())
        if feed in self._orders:
            self._orders[feed].settled(batch, left)
        if batch.on_settled is None:
            return
        told = []
        for job, outcome in zip(batch.jobs, batch.outcomes(), strict=True):
            if outcome is None or job.id in left:
                continue
            done = isinstance(outcome, Delivered)
            state = JobState.COMPLETED if done else batch.states.get(job.id)
            if state is not None:  # else it was released
                told.append((job, outcome, state))
        batch.on_settled(told)


def _withhold(batch: Batch, leases: Sequence[Lease]) -> None:
    """Keep from the taker what could not be leased: nobody would settle it."""
    if len(leases) < len(batch.jobs):
        leased = {lease.job.id for lease in leases}
        for place, job in enumerate(batch.jobs):
            if job.id not in leased:
                batch.answer([Unreachable("its row cannot be written")], place)
