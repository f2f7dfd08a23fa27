"""Claims that keep the order of each key: if one job was committed before another was inserted, it
is delivered first.

One process owns the route. It reads the rows once, by id, and keeps in memory which jobs wait for
others of their key; a key that is kept back costs the others nothing. So that two lanes can serve a
route at once, its keys are dealt to shares, each with a memory of its own. What is not in memory,
and why the order holds all the same:

- *Committed late.* Ids are taken before the commit, so a lower one may appear after a higher one.
  Such gaps are looked at again at each claim, after the read, until every transaction that was
  inserting when the gap was found has ended.
- *After a takeover* the gaps are not known. So until the transactions that were open then have
  ended, each read is followed by a sweep over what is available.
- *Available later*: jobs that had to wait for their time, or that somebody retries. Sweeps find
  them, within a second while sweeps are quick. They join their key then.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence

from riverbridge.engine.batch import Batch, Taker
from riverbridge.engine.deal import SHARES, Deal
from riverbridge.engine.lines import Key, Lines
from riverbridge.engine.missing import Missing
from riverbridge.engine.pace import Pace
from riverbridge.engine.waves import Waves
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Withheld
from riverbridge.store.database import Connection
from riverbridge.store.order import OrderTable

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between an owner's signs of life, and between looks at a route that is another's."""

SILENCE = 3.0
"""Seconds without one after which the route may be taken over."""

AGAIN = 0.05
"""Seconds until the next claim while jobs wait for one of their key."""

READS = 5
"""Most reads of one claim, each of as many rows as a batch has, which fits the size of args."""

AHEAD = 500_000
"""Jobs that may wait in memory, at about 80 bytes each; reading goes on when there are fewer."""

WRITERS = 0.1
"""Seconds between looks at which transactions are inserting, while any matter."""

SWEEP = 0.25
"""Least seconds between sweeps."""

FULL = 60.0
"""Seconds between sweeps over all that is available, whenever it became so: the safety net."""

SHARE = 200
"""A sweep over all that waits is followed by so many times its own length without one. Those in
between look only at what was due lately, which usually costs next to nothing."""

LATELY_SHARE = 20
"""The same for those in between: behind a key that is held back much may have become due lately."""

LATELY = 15.0
"""Seconds: River's leader makes due jobs available within five, if there is one."""

DEEPEST = 100
"""Most jobs of one key in a batch."""


class Ordered:
    """The claims of one route and queue in this process; one lane at a time may call."""

    def __init__(
        self,
        table: OrderTable,
        pace: Pace,
        *,
        deal: Deal,
        share: int = 0,
        hold_back_for: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """deal: the one of this route and queue. share: which of the `SHARES` of keys this is."""
        self._table = table
        self._share = share
        self._pace = pace
        self._deal = deal
        self._hold_back_for = hold_back_for
        self._clock = clock
        self._depth = 4
        self.owner = False
        """Whether the route was ours at the last claim."""
        self.more = False
        """Whether there may well be more to claim at once."""
        self._term: int | None = None
        self._begin()

    def _begin(self) -> None:
        """What is known when nothing has been read."""
        self._lines = Lines(self._hold_back_for, self._clock)
        self._deal.serve(self._share, self._lines)
        self._missing = Missing()
        self._cursor = 0
        self._unread: list[int] = []
        """Of the first sweep: what was available at the takeover and is not read yet, by id."""
        self._at = 0
        self._read_to = 0
        """The last of those that was read."""
        self._waves: Waves | None = None
        self._since = 0
        self._unsure: frozenset[str] | None = None
        self._since_lately = 0
        """The same for the sweeps over what was due lately."""
        self._polled = self._asked = self._swept = self._swept_all = -float("inf")
        self._sweep_rests_until = self._next_sweep = -float("inf")
        self._poll_rest = 0.0
        self._soon = False
        """Whether a job that is kept will be due in a moment."""

    def forget(self) -> None:
        """What is known may be wrong, as a transaction failed: it is all read again."""
        self._term = None

    @property
    def foreign(self) -> bool:
        """Whether another process owns the route, as far as is known."""
        return self._term is None

    @property
    def blocked(self) -> int:
        """How many jobs are known to wait, most of them for others of their key."""
        return self._lines.waiting

    @property
    def again(self) -> float:
        """Seconds until the next look, if nobody announces a job."""
        near = self._soon or self._lines.blocked or self._unsure is not None or not self.owner
        return AGAIN if near else BEAT

    def claim(
        self,
        connection: Connection,
        limit: int,
        *,
        byte_budget: int,
        aside: Collection[int] = (),
    ) -> list[ClaimedJob]:
        """Lock up to `limit` jobs whose turn it is; first one of each key, then the second ones.

        None while the route is another's. aside: jobs that are left alone, and keep their key.
        """
        self.more = False
        if not self._own(connection):
            return []
        self._poll(connection)
        if not self._read(connection, limit):
            self.more = True
            return []
        self._sweep(connection)
        # What is leased at once is not sent in waves.
        depth = 1 if self._pace.slowness.expected else self._depth
        ids = self._lines.take(limit, depth, frozenset(aside))
        jobs = self._lock(connection, ids, byte_budget) if ids else []
        self.more |= self._pace.claimed(jobs, limit=limit, full_look=False, byte_budget=byte_budget)
        return jobs

    def hand_over(self, batch: Batch, taker: Taker, seconds: float) -> None:
        """Give `taker` the jobs of a claim, of each key one at a time. What it has no time to begin
        within `seconds` is withheld."""
        keys = [self._lines.key(job.id) for job in batch.jobs]
        self._waves = Waves(batch, keys, seconds)
        self._waves.take(taker)

    def settled(self, batch: Batch, left: Collection[int]) -> None:
        """The claim of `batch` was committed. left: jobs that were leased or not written."""
        done, back = [], []
        for job, outcome in zip(batch.jobs, batch.outcomes(), strict=True):
            if isinstance(outcome, Delivered):
                done.append(job.id)
            elif isinstance(outcome, Withheld):
                back.append(job.id)
        if left:
            done = [id_ for id_ in done if id_ not in left]
            back = [id_ for id_ in back if id_ not in left]
        self._lines.done(done)
        self._lines.put_back(back)
        if self._waves is not None:
            deeper = max(1, self._depth // 2) if self._waves.cut else self._depth * 2
            self._depth = min(DEEPEST, deeper)
            self._waves = None

    def _own(self, connection: Connection) -> bool:
        """Whether the route is ours for this transaction, taken over if its owner is gone."""
        self.owner = False
        table = self._table
        if self._term is None:
            # Without the lock, so as not to be in its owner's way.
            owner = table.owner(connection, beat=BEAT, silence=SILENCE)
            if owner.id != table.client and not owner.free:
                return False
        if not table.lock(connection, self._share):
            return False
        owner = table.owner(connection, beat=BEAT, silence=SILENCE)
        term = owner.term
        if owner.id == table.client:
            if owner.stale:
                table.beat(connection)
        else:
            others = (share for share in range(SHARES) if share != self._share)
            if not (owner.free and all(table.lock(connection, share) for share in others)):
                self.forget()
                self._begin()
                return False
            term = table.own(connection)
            log.info("takes over the ordered route %s from %s", table.route, owner.id or "nobody")
        if term != self._term:
            self._take_over(connection)
            self._term = term
        self.owner = True
        return True

    def _take_over(self, connection: Connection) -> None:
        """Learn which keys are kept, and what is available. Kept ones first: one that becomes
        available meanwhile is then in both, and one that was missed in neither would be overtaken.
        """
        self._begin()
        self._unsure = self._table.writers(connection)
        self._cursor, self._since = self._table.horizon(connection)
        self._since_lately = self._since
        for some in self._chunks(self._table.held(connection)):
            for job in self._table.rows(connection, some, every=True):
                if (key := self._deal.key(self._share, job)) is not None:
                    self._lines.keep(job.id, key)
        self._unread = self._table.sweep(connection, cursor=self._cursor, since=0)
        self._swept = self._swept_all = self._clock()
        self._next_sweep = self._swept + SWEEP

    def _poll(self, connection: Connection) -> None:
        """Look at the rows of kept jobs, and only at theirs: who waits for them is not read."""
        now = self._clock()
        asked = list(self._lines.kept)
        if not asked:
            self._soon = False
        elif now - self._polled >= self._poll_rest:
            found = self._table.poll(connection, asked)
            self._lines.looked(asked, found)
            self._soon = any(standing.soon for standing in found.values())
            self._polled = self._clock()
            self._poll_rest = 10 * (self._polled - now)

    def _read(self, connection: Connection, limit: int) -> bool:
        """Read on as far as there is too little to take; False if something older may be unread."""
        for _ in range(READS):
            if self._lines.ready(limit, self._depth) >= limit:
                self.more = True
                break
            if self._lines.waiting >= AHEAD or not self._read_on(connection):
                break
        else:
            self.more = True
        self._look_for_writers(connection)
        return self._read_late(connection)

    def _read_on(self, connection: Connection) -> bool:
        """Read the next stretch; returns whether there may be more behind it."""
        limit = self._pace.limit
        if self._unread:
            ids = self._unread[self._at : self._at + limit]
            self._fetch(connection, ids)
            self._at += len(ids)
            self._read_to = ids[-1]
            if self._at >= len(self._unread):
                self._unread, self._at = [], 0
            return True
        read = self._table.read(connection, cursor=self._cursor, limit=limit)
        self._add(read.jobs)
        for low, high in read.missing:
            self._missing.add(low, high)
        self._cursor = read.cursor
        return read.count == limit

    def _look_for_writers(self, connection: Connection) -> None:
        now = self._clock()
        if not (self._missing or self._unsure is not None) or now - self._asked < WRITERS:
            return
        self._asked = now
        writers = self._table.writers(connection)
        self._missing.writing(writers)
        if self._unsure is not None:
            # With nobody left, one sweep more sees all that they have done.
            self._unsure &= writers

    def _read_late(self, connection: Connection) -> bool:
        """Read what appeared in the gaps, after all that was read before; False if there is more.

        In this order, as whoever saw the commit of a late job inserted a later one only then.
        """
        if not self._missing:
            return True
        limit = self._pace.limit
        jobs = self._table.late(connection, self._missing.ranges(), limit)
        self._add(jobs)
        found = [job.id for job in jobs]
        if len(jobs) == limit:
            self._missing.appeared(found)
            return False
        self._missing.looked(found)
        return True

    def _sweep(self, connection: Connection) -> None:
        """Find what became available behind the cursor."""
        began = self._clock()
        if self._unsure is None and began < self._next_sweep:
            return
        _, since = self._table.horizon(connection)
        lately, sought = None, self._since
        if began - self._swept_all >= FULL:
            self._swept_all, sought = began, 0
        elif self._unsure is None and began < self._sweep_rests_until:
            lately, sought = LATELY + began - self._swept, self._since_lately
        found = self._table.sweep(connection, cursor=self._cursor, since=sought, lately=lately)
        took = self._clock() - began
        self._next_sweep = began + took + max(SWEEP, LATELY_SHARE * took)
        if self._unread:
            # What is not read yet is read in its turn, or an older one of its key is overtaken.
            later = found[bisect_right(found, self._read_to) :]
            if set(later).difference(self._unread):
                self._unread = sorted({*self._unread[self._at :], *later})
                self._at = 0
            found = found[: len(found) - len(later)]
        # Those of other shares too: else a backlog of theirs would be read again and again.
        found = [id_ for id_ in found if not self._deal.knows(id_)]
        for some in self._chunks(found):
            self._fetch(connection, some)
        self._since_lately, self._swept = since, began
        if lately is None:
            ended = self._clock()
            self._since, self._sweep_rests_until = since, ended + SHARE * (ended - began)
        if self._unsure is not None and not self._unsure:
            self._unsure = None

    def _lock(
        self, connection: Connection, ids: Sequence[int], byte_budget: int
    ) -> list[ClaimedJob]:
        """The rows that can be had. Where one cannot, the later ones of its key are put back."""
        found = {job.id: job for job in self._table.claim(connection, ids, byte_budget=byte_budget)}
        if len(found) == len(ids):
            return list(found.values())
        self._soon = True
        stopped: set[Key] = set()
        jobs, back = [], []
        for id_ in ids:
            key = self._lines.key(id_)
            if key in stopped:
                back.append(id_)
            elif id_ in found:
                jobs.append(found[id_])
            else:
                stopped.add(key)  # and it is kept, until a poll says what became of it
        self._lines.put_back(back)
        return jobs

    def _chunks(self, ids: Sequence[int]) -> Iterator[Sequence[int]]:
        """As many at a time as a batch has, which fits the size of args."""
        limit = self._pace.limit
        return (ids[start : start + limit] for start in range(0, len(ids), limit))

    def _fetch(self, connection: Connection, ids: Sequence[int]) -> None:
        """Put those of `ids` in line that are this share's. A job that is not available any more,
        which a note cannot know, is found out when its turn comes."""
        own, unread = self._deal.noted(self._share, ids)
        if unread:
            own += self._deal.note(self._share, self._table.rows(connection, unread))
        for id_, key in own:
            self._lines.add(id_, key)

    def _add(self, jobs: Sequence[ClaimedJob]) -> None:
        for job in jobs:
            if (key := self._deal.key(self._share, job)) is not None:
                self._lines.add(job.id, key)
