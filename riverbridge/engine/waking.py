"""When which feed is claimed from next.

A notification makes its feeds due at once and again 10, 50 and 110 ms later, as River's clients
announce at most once per 100 ms and queue (contract 5.3). Polling is the safety net. While claims
come back small, a feed is claimed from at most about 200 times a second; a full claim makes it due
at once, and the lane that comes next, perhaps a second one, takes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from riverbridge.engine.batch import Feed

log = logging.getLogger(__name__)

FOLLOW_UPS = (0.010, 0.050, 0.110)
"""Seconds after a notification at which its queue is looked at again."""

GAP = 0.0045
"""Least seconds between two claims of a feed whose claims come back small."""

CLOSED = 0.02
"""Seconds until a feed whose taker has no room is looked at again."""

NEVER = float("inf")


class _Turn:
    """What the waker knows of one feed; times are of the waker's clock."""

    __slots__ = ("claimed", "claiming", "due", "feed", "follow_ups", "full", "last", "rest")

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.due = 0.0
        self.last = -1.0
        self.rest = 0.0
        self.full = False
        self.claiming = False
        self.claimed = 0
        """Jobs on their way to the taker, which does not count them yet."""
        self.follow_ups: list[float] = []

    def start(self) -> float:
        """The earliest time of the next claim."""
        if self.claiming:
            return NEVER
        return self.due if self.full else max(self.due, self.last + GAP, self.rest)


class Waker:
    """Hands feeds to lanes in the order in which they are due. All methods may be called by any
    thread; each lane's claim must end with `claimed`."""

    def __init__(
        self,
        feeds: Iterable[Feed],
        *,
        poll: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """poll: seconds between looks at a quiet queue."""
        self._turns = {feed: _Turn(feed) for feed in feeds}
        self._poll = poll
        self._clock = clock
        self._wake = threading.Condition()
        self._paused: set[str] = set()
        self._pauses = 0
        self._stopped = False

    def feeds(self) -> list[Feed]:
        """What is handed out."""
        with self._wake:
            return list(self._turns)

    def add(self, feed: Feed) -> None:
        """Hand out `feed` too, from now on."""
        with self._wake:
            self._turns.setdefault(feed, _Turn(feed))
            self._wake.notify()

    def remove(self, feed: Feed) -> None:
        """Hand `feed` out no more; a claim that is being made from it goes on."""
        with self._wake:
            self._turns.pop(feed, None)

    def next(self, timeout: float) -> tuple[Feed, int] | None:
        """Wait up to `timeout` seconds for a due feed; returns it with its taker's room."""
        until = self._clock() + timeout
        with self._wake:
            while not self._stopped:
                now = self._clock()
                turn = min(
                    (t for t in self._turns.values() if t.feed.queue not in self._paused),
                    key=_Turn.start,
                    default=None,
                )
                start = NEVER if turn is None else turn.start()
                if turn is not None and start <= now:
                    room = turn.feed.room() - turn.claimed
                    if room > 0:
                        turn.claiming = True
                        turn.due = NEVER
                        turn.last = now
                        return turn.feed, room
                    turn.due = now + CLOSED
                    continue
                if now >= until:
                    return None
                self._wake.wait(min(start, until) - now)
            return None

    def claimed(self, feed: Feed, *, full: bool, jobs: int = 0) -> None:
        """The claim begun by `next` has ended; `full` if there may well be more.

        jobs: so many are to be handed to the taker; say so by `handed`.
        """
        with self._wake:
            turn = self._turns.get(feed)
            if turn is None:
                return
            now = self._clock()
            turn.claiming = False
            turn.claimed += jobs
            turn.full = full
            if full:
                due = now
            else:
                # Those that passed while the claim ran still stand: it saw what was there before.
                turn.follow_ups = [at for at in turn.follow_ups if at > turn.last]
                due = turn.follow_ups[0] if turn.follow_ups else now + self._poll
            turn.due = min(turn.due, due)
            # Also if it is due only later: who waits now began while the feed was out, and knows no
            # time for it; the lane that calls this may be busy for as long as `hold`.
            self._wake.notify()

    def handed(self, feed: Feed, jobs: int) -> None:
        """So many claimed jobs are with the taker now, or nobody's any more."""
        with self._wake:
            turn = self._turns.get(feed)
            if turn is not None:
                turn.claimed -= jobs

    def defer(self, feed: Feed, seconds: float) -> None:
        """Leave `feed` alone for a while: its taker just handed jobs back."""
        with self._wake:
            turn = self._turns.get(feed)
            if turn is None:
                return
            turn.full = False
            turn.follow_ups = []
            turn.due = self._clock() + seconds

    def look(self, feed: Feed, within: float) -> None:
        """Claim from `feed` in so many seconds at the latest."""
        with self._wake:
            turn = self._turns.get(feed)
            if turn is not None:
                turn.due = min(turn.due, self._clock() + within)
                self._wake.notify()

    def rest(self, feed: Feed, seconds: float) -> None:
        """Leave `feed` alone for so long, whatever is announced: it is another process's."""
        with self._wake:
            turn = self._turns.get(feed)
            if turn is not None:
                turn.rest = self._clock() + seconds
                turn.due = min(turn.due, turn.rest)

    def notify(self, queue: str) -> None:
        """A job was announced for `queue`."""
        with self._wake:
            now = self._clock()
            for turn in self._turns.values():
                if turn.feed.queue == queue:
                    turn.due = min(turn.due, now)
                    turn.follow_ups = [now + after for after in FOLLOW_UPS]
                    self._wake.notify()

    def pause(self, queue: str) -> None:
        """Claim no more from `queue`, or from every queue if it is `*`."""
        with self._wake:
            self._pauses += 1
            self._pausing(self._paused | (self._queues() if queue == "*" else {queue}))

    def resume(self, queue: str) -> None:
        """Claim again from `queue`, or from every queue if it is `*`, at once."""
        with self._wake:
            self._pauses += 1
            self._pausing(self._paused - (self._queues() if queue == "*" else {queue}))
            self._all_due()

    @property
    def pauses(self) -> int:
        """How often a queue was paused or resumed, for `set_paused`."""
        return self._pauses

    def set_paused(self, queues: set[str], pauses: int) -> None:
        """The whole truth of what is paused, as read from the queue rows.

        pauses: the count before they were read. Where it is no longer the same, somebody paused or
        resumed a queue since, and what was read may be older than that: it is not believed.
        """
        with self._wake:
            if pauses == self._pauses and queues != self._paused:
                self._pausing(set(queues))
                self._all_due()

    def look_now(self) -> None:
        """Claim from every feed at once: announcements may have been missed."""
        with self._wake:
            self._all_due()

    def stop(self) -> None:
        """Hand out no more feeds."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()

    def _pausing(self, queues: set[str]) -> None:
        mine = self._queues()
        for queue in sorted((queues ^ self._paused) & mine):
            log.info("queue %s is %s", queue, "paused" if queue in queues else "worked again")
        self._paused = queues

    def _queues(self) -> set[str]:
        return {feed.queue for feed in self._turns}

    def _all_due(self) -> None:
        now = self._clock()
        for turn in self._turns.values():
            turn.due = min(turn.due, now)
        self._wake.notify_all()
