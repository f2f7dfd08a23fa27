"""How a lane claims from a feed whose jobs need no order: River's."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.engine.batch import Feed
from riverbridge.engine.pace import Pace, within
from riverbridge.model.job import ClaimedJob
from riverbridge.store.database import Connection
from riverbridge.store.jobs import JobTable


class ByPriority:
    """By priority, time and id. Any number of lanes at once."""

    def __init__(self, table: JobTable, feed: Feed, pace: Pace) -> None:
        self._table = table
        self._feed = feed
        self._pace = pace
        self.more = False
        """Whether there may well be more to claim at once."""

    def claim(
        self, connection: Connection, limit: int, *, byte_budget: int, aside: Sequence[int]
    ) -> Sequence[ClaimedJob]:
        """Lock up to `limit` jobs, or as many as `byte_budget` holds. aside: not to be taken."""
        floors, feed = self._pace.floors(), self._feed
        if feed.sieve is not None and floors.full_look:
            aside = [*aside, *feed.sieve.ids()]
        found = self._table.claim(
            connection,
            queue=feed.queue,
            kinds=feed.kinds,
            taken=feed.taken,
            floors=floors.texts,
            after=floors.after,
            back=floors.back,
            aside=aside,
            limit=limit,
            byte_budget=byte_budget,
        )
        # The last one that the statement sends may exceed what is left: it stays for the next.
        jobs = found if feed.bytes_left is None else within(found, byte_budget)
        self.more = self._pace.claimed(
            jobs, limit=limit, full_look=floors.full_look, byte_budget=byte_budget
        ) or len(jobs) < len(found)
        return jobs
