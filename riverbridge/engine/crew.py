"""The threads that serve the feeds of one process, wired once for the bridge and for workers.

Lanes claim and settle, the keeper looks after the process, the listener hears of jobs and orders.
Each lane has a connection, and so have keeper and listener.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from riverbridge.engine.batch import Feed
from riverbridge.engine.deal import Deal
from riverbridge.engine.followed import Followed
from riverbridge.engine.keeper import Keeper, Step
from riverbridge.engine.lane import Lane, Limits
from riverbridge.engine.listener import Control, Listener
from riverbridge.engine.ordered import Ordered
from riverbridge.engine.pace import Pace
from riverbridge.engine.settling import Aside
from riverbridge.engine.slots import Slots
from riverbridge.engine.supervisor import Supervisor
from riverbridge.engine.waking import Waker
from riverbridge.model.job import ClaimedJob
from riverbridge.store.database import Connect
from riverbridge.store.jobs import JobTable
from riverbridge.store.order import OrderTable
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable

log = logging.getLogger(__name__)

STUCK = 15.0
"""Seconds beyond the deadline after which a lane's server counts as hung."""

PATIENCE = 10.0
"""Seconds without progress after which keeper or listener do not count as ready."""


@dataclass(frozen=True)
class Manning:
    """How feeds are served.

    limits: hold, deadline and guard of each lane; without `alone` the deadline may be infinite.
    batch_size, batch_bytes: the most a lane claims at once. poll: seconds between looks at a quiet
    queue. grace: seconds what is out may take after a stop.
    """

    limits: Limits
    batch_size: int = 1000
    batch_bytes: int = 8 << 20
    poll: float = 1.0
    grace: float = 25.0


@dataclass
class _Watch:
    """Lanes that share a waker, and through it their feeds."""

    waker: Waker
    paces: dict[Feed, Pace]
    orders: dict[Feed, Ordered]
    lanes: list[Lane]


class Crew:
    """Construct, `start`; in the end `stop_claiming`, `join_lanes`, `end`."""

    def __init__(
        self,
        *,
        connect: Connect,
        processes: ProcessTable,
        schema: str | None,
        watches: Sequence[tuple[int, Sequence[Feed]]],
        manning: Manning,
        crashed: Sequence[str] = (),
        exclusive: bool = True,
        slots: Sequence[Slots] = (),
    ) -> None:
        """watches: so many lanes for these feeds each. crashed: records of dead processes.
        exclusive: nobody else works these queues. slots: those of the feeds.
        """
        self._connect = connect
        self._schema = schema
        self._manning = manning
        self._aside = Aside()
        self._deals: dict[tuple[str, str], Deal] = {}
        self._client = processes.id
        self._table = JobTable(schema, processes.id)
        self._watches = [self._watch(count, feeds) for count, feeds in watches]
        self._lanes = [lane for watch in self._watches for lane in watch.lanes]
        self._wakers = [watch.waker for watch in self._watches]
        self._keeper = Keeper(
            connect=connect,
            jobs=self._table,
            processes=processes,
            queues=QueueTable(schema),
            feeds=self._feeds(),
            wakers=self._wakers,
            aside=self._aside,
            crashed=crashed,
            guard_over=lambda: not any(lane.guarding for lane in self._lanes),
            held=lambda: set[int]().union(*(lane.leased() for lane in self._lanes)),
            exclusive=exclusive,
            slots=slots,
        )
        self._slots = list(slots)
        self._listener: Listener | None = None
        self._lanes_stop, self._rest_stop = threading.Event(), threading.Event()
        self._lane_threads = Supervisor(self._lanes_stop)
        self._rest_threads = Supervisor(self._rest_stop)

    def listen(
        self,
        connect: Connect,
        *,
        leadership: Callable[[str], None] | None = None,
        control: Callable[[Control], None] | None = None,
    ) -> None:
        """Have a listener, on connections that do not go through a transaction pooler."""
        self._listener = Listener(
            connect=connect,
            schema=self._schema,
            wakers=self._wakers,
            leadership=leadership,
            control=control,
        )

    def start(self, stop: threading.Event) -> None:
        """Record this process, waiting for the database until `stop`; then start all threads."""
        self._keeper.sign_on(stop)
        self._rest_threads.start("keeper", self._keeper.run)
        for slots in self._slots:
            self._rest_threads.start(f"slots-{slots.sink}", slots.run)
        if self._listener is not None:
            self._rest_threads.start("listener", self._listener.run)
        for number, lane in enumerate(self._lanes, 1):
            self._lane_threads.start(f"lane-{number}", _serving(lane, self._manning.grace))

    def add(self, feed: Feed, lanes: int = 0) -> None:
        """Have the lanes of that number, by default the first ones, serve `feed` too."""
        watch = self._watches[lanes]
        pace = watch.paces.setdefault(feed, self._pace(feed))
        if feed.key_of is not None and feed not in watch.orders:
            watch.orders[feed] = self._order(feed, pace, feed.key_of)
        watch.waker.add(feed)
        self._keeper.serve(self._feeds())

    def remove(self, feed: Feed) -> None:
        """Claim no more from `feed`; what is out goes on."""
        for watch in self._watches:
            watch.waker.remove(feed)
        self._keeper.serve(self._feeds())

    def queues(self) -> list[str]:
        """Those that are served now."""
        return sorted({feed.queue for feed in self._feeds()})

    def wake(self, queue: str) -> None:
        """Claim from `queue` at once: it has jobs that nobody announced."""
        for waker in self._wakers:
            waker.notify(queue)

    def follow(
        self,
        feeds: Callable[[str], Sequence[tuple[int, Feed]]],
        served: Mapping[str, Sequence[tuple[int, Feed]]],
    ) -> None:
        """Serve further queues, once they have jobs, by the feeds that are named for them.

        feeds: each with the number of its lanes. served: such queues that are served already.
        """
        followed = Followed(
            feeds, add=self.add, remove=self.remove, forget=self._forget, served=served.items()
        )
        self._keeper.follow(followed)

    def obey(self, step: Step) -> None:
        """Have the keeper read what is paused beside queues, twice a second and before anything is
        claimed. Call before `start`."""
        self._keeper.obey(step)

    def also(self, interval: float, name: str, step: Step) -> None:
        """Have the keeper run `step`, too, every `interval` seconds. Call before `start`."""
        self._keeper.also(interval, name, step)

    def _forget(self, feed: Feed) -> None:
        for watch in self._watches:
            watch.paces.pop(feed, None)
            watch.orders.pop(feed, None)
        self._deals.pop((feed.name, feed.queue), None)

    def unstick(self) -> None:
        """Cut the connections of what stands still: a server that hangs sends no error."""
        patience = self._longest_turn + STUCK
        for part in (*self._lanes, self._keeper, self._listener):
            if part and time.monotonic() - part.progress > patience:
                part.unstick()

    def stop_claiming(self) -> None:
        """No new claims; lanes go on to settle what is out, for the grace time."""
        self._lanes_stop.set()
        for waker in self._wakers:
            waker.stop()

    def join_lanes(self, timeout: float | None = None) -> list[str]:
        """Wait for the lanes, `timeout` seconds or as long as they may take; returns those left."""
        # A lane may still hold rows for `hold`, and then drains its leases for the grace time.
        longest = self._manning.grace + self._manning.limits.hold + 5.0
        return self._lane_threads.join(longest if timeout is None else timeout)

    def end(self, left: Sequence[str]) -> list[str]:
        """End the rest; sign off unless lanes are `left`. Returns all that did not end."""
        self._rest_stop.set()
        found = [*left, *self._rest_threads.join(10.0)]
        if not found:
            self._keeper.sign_off()
        return found

    def checks(self) -> dict[str, str | None]:
        """Each thread by its progress; None is well."""
        patience = self._longest_turn + 5.0
        found = {
            f"lane-{number}": stalled(lane.progress, patience)
            for number, lane in enumerate(self._lanes, 1)
        }
        found["keeper"] = stalled(self._keeper.progress, PATIENCE)
        if self._listener is not None:
            found["listener"] = stalled(self._listener.progress, PATIENCE)
        return found

    @property
    def _longest_turn(self) -> float:
        """Seconds a lane may rightly spend without going round."""
        limits = self._manning.limits
        return limits.deadline if limits.alone else limits.hold

    def _feeds(self) -> list[Feed]:
        return [feed for watch in self._watches for feed in watch.waker.feeds()]

    def _watch(self, count: int, feeds: Sequence[Feed]) -> _Watch:
        manning = self._manning
        waker = Waker(feeds, poll=manning.poll)
        paces = {feed: self._pace(feed) for feed in feeds}
        orders = {
            feed: self._order(feed, paces[feed], feed.key_of) for feed in feeds if feed.key_of
        }
        lanes = [
            Lane(
                connect=self._connect,
                table=self._table,
                waker=waker,
                paces=paces,
                orders=orders,
                aside=self._aside,
                limits=manning.limits,
                byte_budget=manning.batch_bytes,
            )
            for _ in range(count)
        ]
        return _Watch(waker, paces, orders, lanes)

    def _order(self, feed: Feed, pace: Pace, key_of: Callable[[ClaimedJob], str]) -> Ordered:
        table = OrderTable(
            self._schema,
            self._client,
            route=feed.name,
            queue=feed.queue,
            kinds=feed.kinds,
            taken=feed.taken,
        )
        # One for the feeds of all shares, which may be served by the lanes of different watches.
        deal = self._deals.setdefault((feed.name, feed.queue), Deal(key_of))
        return Ordered(table, pace, deal=deal, share=feed.share, hold_back_for=feed.hold_back_for)

    def _pace(self, feed: Feed) -> Pace:
        return Pace(
            claiming=feed.claiming,
            batch_size=self._manning.batch_size,
            batch_bytes=self._manning.batch_bytes,
            hold=self._manning.limits.hold,
            crowded=None if feed.sieve is None else feed.sieve.crowded,
        )


def stalled(progress: float, patience: float) -> str | None:
    """What is wrong with a part that last went on at `progress` (time.monotonic); None is well."""
    silent = time.monotonic() - progress
    return None if silent <= patience else f"no progress for {silent:.0f} s"


def _serving(lane: Lane, grace: float) -> Callable[[threading.Event], None]:
    return lambda stop: lane.run(stop, grace)
