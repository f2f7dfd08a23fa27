"""The queues that match a glob: served from when they have jobs until they have had none for long.

The keeper's thread looks, since it knows what is paused: a queue is first recorded as this
process's and its pause is read, and claimed from in the next round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from riverbridge.engine.batch import Feed

log = logging.getLogger(__name__)

IDLE = 120.0
"""Seconds without a waiting job after which a queue is dropped; it comes back with its next job.
Longer than any delivery may take, so that no lease outlasts it."""

LINGER = 60.0
"""Seconds after which what was kept for a dropped queue is forgotten."""

MOST = 1000
"""Queues served at once through globs: each is looked at in every poll."""

Place = tuple[int, Feed]
"""A feed and the number of the lanes that serve it."""


class Followed:
    """Which queues are served through globs, and since when. Only the keeper's thread calls."""

    def __init__(
        self,
        feeds: Callable[[str], Sequence[Place]],
        *,
        add: Callable[[Feed, int], None],
        remove: Callable[[Feed], None],
        forget: Callable[[Feed], None],
        served: Iterable[tuple[str, Sequence[Place]]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """feeds: what serves a queue; nothing if no glob matches it. served: from the start."""
        self._feeds, self._add, self._remove, self._forget = feeds, add, remove, forget
        self._clock = clock
        now = clock()
        self._places = dict(served)
        self._waited = dict.fromkeys(self._places, now)
        self._coming: dict[str, Sequence[Place]] = {}
        self._leaving: list[tuple[float, Sequence[Place]]] = []
        self._full = False

    def admit(self) -> None:
        """Claim from the queues that the last `look` found."""
        coming, self._coming = self._coming, {}
        for queue, places in coming.items():
            for lanes, feed in places:
                self._add(feed, lanes)
            log.info("queue %s: serving it, by %s", queue, _routes(places))
            self._places[queue] = places

    def look(self, waiting: Iterable[str]) -> list[Feed]:
        """Drop the queues that have been empty for long; returns the feeds of new ones.

        waiting: the queues that have jobs.
        """
        now = self._clock()
        for queue in waiting:
            if queue in self._places:
                self._waited[queue] = now
            elif queue not in self._coming and self._room() and (places := self._feeds(queue)):
                self._coming[queue] = places
                self._waited[queue] = now
        for queue in [q for q in self._places if now - self._waited[q] >= IDLE]:
            places = self._places.pop(queue)
            del self._waited[queue]
            for _, feed in places:
                self._remove(feed)
            self._leaving.append((now, places))
            log.info("queue %s: empty for %.0f s, dropped until its next job", queue, IDLE)
        while self._leaving and now - self._leaving[0][0] >= LINGER:
            for _, feed in self._leaving.pop(0)[1]:
                self._forget(feed)
        return [feed for places in self._coming.values() for _, feed in places]

    def _room(self) -> bool:
        full = len(self._places) + len(self._coming) >= MOST
        if full and not self._full:
            log.warning("globs match more than %d queues with jobs; the others wait", MOST)
        self._full = full
        return not full


def _routes(places: Sequence[Place]) -> str:
    return ", ".join(sorted({feed.name for _, feed in places}))
