"""The jobs of each key, in line: which may go now, and which wait for one before them."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from itertools import islice

from riverbridge.store.order import Standing

Key = Hashable


class _Line:
    """One key: ids that are available, in their order, and how many others keep it."""

    __slots__ = ("holders", "waiting")

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.holders = 0


class Lines:
    """Whose turn it is, key by key. Pure: rows are read and written elsewhere.

    A job is *waiting* when its row is available, and else *kept*: it is out, or it failed and will
    come back, and nobody of its key may go meanwhile. A key that nothing keeps is open, and open
    keys take turns. A job that failed keeps its key for `hold_back_for` seconds at most, if given.
    """

    def __init__(
        self, hold_back_for: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hold_back_for = hold_back_for
        self._clock = clock
        self._lines: dict[Key, _Line] = {}
        self._open: dict[Key, None] = {}
        self._kept: dict[int, Key] = {}
        self._failed_at: dict[int, float] = {}
        self._let_go: set[int] = set()
        """Of those kept, the ones that failed for too long to keep their key."""
        self._waiting: set[int] = set()

    @property
    def kept(self) -> Collection[int]:
        """The ids whose rows are to be looked at: they are out, or will come back."""
        return self._kept.keys()

    @property
    def waiting(self) -> int:
        """How many are available, whoever they wait for."""
        return len(self._waiting)

    def knows(self, id_: int) -> bool:
        """Whether it is waiting."""
        return id_ in self._waiting

    @property
    def blocked(self) -> bool:
        """Whether any job waits for one that is kept."""
        return bool(self._waiting) and len(self._open) < len(self._lines)

    def ready(self, limit: int, depth: int) -> int:
        """How many could be taken now, counted up to `limit`."""
        found = 0
        for key in islice(self._open, limit):
            found += min(depth, len(self._lines[key].waiting))
            if found >= limit:
                return limit
        return found

    def add(self, id_: int, key: Key) -> None:
        """Its row is available. Known ones may be added again."""
        if id_ in self._kept:
            self.put_back([id_])
            return
        line = self._line(key)
        self._insert(line, id_)
        if not line.holders:
            self._open[key] = None

    def keep(self, id_: int, key: Key) -> None:
        """Its row is not available, and it was tried: nobody of its key may go."""
        if id_ not in self._kept:
            self._kept[id_] = key
            self._line(key).holders += 1
            self._open.pop(key, None)

    def take(self, limit: int, depth: int, aside: Collection[int] = ()) -> list[int]:
        """Take up to `limit` jobs, up to `depth` of a key; they are kept from here on.

        First the first ones of their keys, then the second ones, and so on. aside: not to be taken,
        and none of their key after them.
        """
        keys = [
            key
            for key in islice(self._open, limit + len(aside))
            if self._lines[key].waiting[0] not in aside
        ][:limit]
        taken: list[int] = []
        counts = dict.fromkeys(keys, 0)
        for place in range(depth):
            keys = [key for key in keys if self._has(key, place, aside)]
            for key in keys[: limit - len(taken)]:
                taken.append(self._lines[key].waiting[place])
                counts[key] += 1
            if not keys or len(taken) >= limit:
                break
        for key, count in counts.items():
            line = self._lines[key]
            for id_ in line.waiting[:count]:
                self._kept[id_] = key
            del line.waiting[:count]
            line.holders += count
            if count:
                del self._open[key]
        self._waiting.difference_update(taken)
        return taken

    def key(self, id_: int) -> Key:
        """The key of a job that is kept."""
        return self._kept[id_]

    def done(self, ids: Iterable[int]) -> None:
        """They have ended: delivered, discarded, cancelled, deleted."""
        for id_ in ids:
            self._failed_at.pop(id_, None)
            self._release(id_)

    def put_back(self, ids: Iterable[int]) -> None:
        """They are available again, and take their old places."""
        for id_ in ids:
            line = self._line(self._kept[id_])
            self._insert(line, id_)
            self._release(id_)

    def looked(self, asked: Collection[int], found: Mapping[int, Standing]) -> None:
        """What became of the kept jobs that were `asked` about; those not found have ended."""
        for id_ in asked:
            standing = found.get(id_)
            if standing is None:
                self.done([id_])
            elif standing.ready:
                self.put_back([id_])
            elif not standing.out:
                self._failed(id_)

    def _failed(self, id_: int) -> None:
        since = self._failed_at.setdefault(id_, now := self._clock())
        limit = self._hold_back_for
        if limit is not None and now - since >= limit and id_ not in self._let_go:
            self._let_go.add(id_)
            self._free(self._kept[id_])

    def _release(self, id_: int) -> None:
        key = self._kept.pop(id_)
        if id_ in self._let_go:
            self._let_go.remove(id_)
            self._tidy(key)
        else:
            self._free(key)

    def _free(self, key: Key) -> None:
        self._lines[key].holders -= 1
        self._tidy(key)

    def _tidy(self, key: Key) -> None:
        # The line of a key whose only job was let go is gone; `_line` made or makes it anew.
        line = self._lines.get(key)
        if line is not None and not line.holders:
            if line.waiting:
                self._open[key] = None
            else:
                del self._lines[key]
                self._open.pop(key, None)

    def _line(self, key: Key) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        return line

    def _insert(self, line: _Line, id_: int) -> None:
        if id_ not in self._waiting:
            self._waiting.add(id_)
            insort(line.waiting, id_)

    def _has(self, key: Key, place: int, aside: Collection[int]) -> bool:
        waiting = self._lines[key].waiting
        return place < len(waiting) and waiting[place] not in aside
