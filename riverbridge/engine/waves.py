"""A batch with several jobs of a key, handed over in waves: of each key one job, and the next one
when it is delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial

from riverbridge.engine.batch import Batch, Taker
from riverbridge.model.outcome import Delivered, Outcome, Withheld
from riverbridge.model.receipt import Receipt

BEFORE = Withheld("an earlier job of its key was not delivered")
NO_TIME = Withheld("its turn did not come in time")


class _Wave(Batch):
    """What is out at once. `then` is called when it is answered, once, by whoever answered last."""

    def __init__(self, batch: Batch, places: Sequence[int], then: Callable[[_Wave], None]) -> None:
        super().__init__([batch.jobs[place] for place in places], batch.deadline)
        self.places = places
        self._batch = batch
        self._then: Callable[[_Wave], None] | None = then

    def answer(self, outcomes: Sequence[Outcome], start: int = 0) -> None:
        super().answer(outcomes, start)
        if self.answered:
            with self._lock:
                then, self._then = self._then, None
            if then is not None:
                then(self)

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        self._batch.add_receipts(receipts)


class Waves:
    """One batch on its way. Its jobs are in the order of `Lines.take`: first ones, second ones, …

    No wave begins later than `seconds` after the first; what is left then is withheld, and so is
    what follows a job that was not delivered.
    """

    def __init__(self, batch: Batch, keys: Sequence[Hashable], seconds: float) -> None:
        """keys: of each job of `batch`."""
        self._batch = batch
        self._keys = keys
        self._seconds = seconds
        self._waves = _levels(keys)
        self._began = time.monotonic()
        self._stopped: set[Hashable] = set()
        self._taker: Taker | None = None
        self._wave: _Wave | None = None
        # Entered again where a taker answers at once.
        self._turn = threading.RLock()
        self.cut = False
        """Whether jobs were withheld because time was up."""

    def take(self, taker: Taker) -> None:
        """Start; as `Taker.take`."""
        if len(self._waves) <= 1:
            taker.take(self._batch)
            return
        self._taker = taker
        self._batch.on_late = self._late
        self._batch.on_abandoned = self._abandoned
        with self._turn:
            self._next(0)

    def _next(self, number: int) -> None:
        """Send the next wave that has anything to send."""
        assert self._taker is not None  # set by `take`
        while number < len(self._waves):
            start, end = self._waves[number]
            if self._batch.abandoned or time.monotonic() - self._began > self._seconds:
                self._cut(start)
            outcomes = self._batch.outcomes()
            places = []
            for place in range(start, end):
                if self._keys[place] in self._stopped:
                    self._batch.answer([BEFORE], place)
                elif outcomes[place] is None:
                    places.append(place)
                elif not isinstance(outcomes[place], Delivered):
                    self._stopped.add(self._keys[place])
            number += 1
            if places:
                then = partial(self._answered, number)
                self._wave = _Wave(self._batch, places, then)
                self._taker.take(self._wave)
                return

    def _answered(self, number: int, wave: _Wave) -> None:
        outcomes = [outcome for outcome in wave.outcomes() if outcome is not None]
        with self._turn:
            if wave.places[-1] - wave.places[0] == len(wave.places) - 1:
                self._batch.answer(outcomes, wave.places[0])
            else:
                for place, outcome in zip(wave.places, outcomes, strict=True):
                    self._batch.answer([outcome], place)
            self._stopped.update(
                self._keys[place]
                for place, outcome in zip(wave.places, outcomes, strict=True)
                if not isinstance(outcome, Delivered)
            )
            self._next(number)

    def _late(self) -> None:
        """The lane will lease what is out: what was not sent is not to be among it."""
        with self._turn:
            if self._wave is not None:
                self._cut(self._wave.places[-1] + 1)

    def _cut(self, start: int) -> None:
        left = len(self._batch.jobs) - start
        if left > 0:
            self.cut = True
            self._batch.answer([NO_TIME] * left, start)

    def _abandoned(self) -> None:
        wave = self._wave
        if wave is not None:
            wave.abandon()


def _levels(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Where each wave begins and ends: the first of each key, then the second, and so on."""
    counts: dict[Hashable, int] = {}
    levels: list[int] = []
    for place, key in enumerate(keys):
        count = counts[key] = counts.get(key, 0) + 1
        if count > len(levels):
            levels.append(place)
    return list(zip(levels, [*levels[1:], len(keys)], strict=True))
