"""Jobs with keys, inserted at a rate by transactions that end late or not; who was overtaken."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.processes import Rows
from tests.support.database import Database

ORDERED = {
    "RIVERBRIDGE_ROUTES__TEST__QUEUES": "outbox",
    "RIVERBRIDGE_ROUTES__TEST__KEY": "{args.k}",
    "RIVERBRIDGE_ROUTES__TEST__ORDERED": "true",
    "RIVERBRIDGE_ROUTES__TEST__RETRY": "fixed",
    "RIVERBRIDGE_ROUTES__TEST__RETRY_DELAY": "0.2",
}

INSERT = """
INSERT INTO river_job (kind, queue, max_attempts, priority, args, scheduled_at)
SELECT 'k', 'outbox', 1000, 1 + (random() * 3)::int, jsonb_build_object('k', key),
       clock_timestamp() + %(ahead)s * interval '1 second'
FROM unnest(%(keys)s::text[]) AS key
RETURNING id, args ->> 'k'
"""


@dataclass(frozen=True)
class Inserted:
    """A job; when its INSERT began and when its COMMIT had answered, by time.monotonic."""

    id: int
    key: str
    began: float
    committed: float


class Inserters:
    """Jobs at a fixed rate: two clocks 0.1 s apart, and a third whose transactions end late."""

    def __init__(
        self, database: Database, *, jobs: int, keys: int, rate: float, late: float
    ) -> None:
        self._database = database
        self._keys = keys
        self._late = late
        self.inserted: list[Inserted] = []
        self._faults: list[BaseException] = []
        each = jobs // 20
        few = max(5, round(late * rate * 0.05 / 15))  # not more than 15 are open at once
        ways: list[Callable[[], None]] = [
            lambda: self._insert(9 * each, 20, rate * 0.45, 0.0),
            lambda: self._insert(9 * each, 20, rate * 0.45, 0.1),
            lambda: self._insert(each, few, rate * 0.05, 0.0, late=True),
            lambda: self._insert(each, few, rate * 0.05, 0.1, late=True),
        ]
        self._threads = [threading.Thread(target=self._guarded, args=(way,)) for way in ways]
        self.total = 18 * each + 2 * each

    def __enter__(self) -> Inserters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()
        assert self._faults == []

    def _guarded(self, way: Callable[[], None]) -> None:
        try:
            way()
        except BaseException as error:
            self._faults.append(error)

    def _insert(
        self, jobs: int, batch: int, rate: float, ahead: float, *, late: bool = False
    ) -> None:
        dice = random.Random(jobs + batch + ahead)
        began = time.monotonic()
        # So many transactions are open at a time as end late at this rate.
        count = max(1, round(self._late * rate / batch)) if late else 1
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(self._database.connect(autocommit=False)) for _ in range(count)
            ]
            open_: list[tuple[float, float, Sequence[tuple[int, str]]]] = []
            for number in range(0, jobs, batch):
                connection = connections[number // batch % count]
                if len(open_) == count:
                    self._commit(connection, *open_.pop(0))
                wait = began + number / rate - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                size = min(batch, jobs - number)
                keys = [str(dice.randrange(self._keys)) for _ in range(size)]
                start = time.monotonic()
                rows = connection.execute(INSERT, {"keys": keys, "ahead": ahead}).fetchall()
                if late:
                    open_.append((start + self._late, start, rows))
                else:
                    self._commit(connection, 0.0, start, rows)
            for place, one in enumerate(open_):
                first = (jobs + batch - 1) // batch - len(open_)
                self._commit(connections[(first + place) % count], *one)

    def _commit(
        self, connection: Rows, at: float, began: float, rows: Sequence[tuple[int, str]]
    ) -> None:
        time.sleep(max(0.0, at - time.monotonic()))
        connection.commit()
        now = time.monotonic()
        self.inserted.extend(Inserted(id_, key, began, now) for id_, key in rows)


def overtaken(inserted: Sequence[Inserted], arrived: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of a key, first and second, that arrived for the first time the wrong way round."""
    first: dict[int, int] = {}
    for place, id_ in enumerate(arrived):
        first.setdefault(id_, place)
    by_key: dict[str, list[Inserted]] = {}
    for one in inserted:
        by_key.setdefault(one.key, []).append(one)
    found = []
    for jobs in by_key.values():
        ended = sorted(jobs, key=lambda one: one.committed)
        last, place = ended[0], 0
        for one in sorted(jobs, key=lambda one: one.began):
            while place < len(ended) and ended[place].committed < one.began:
                if first[ended[place].id] >= first[last.id]:
                    last = ended[place]
                place += 1
            if place and first[last.id] > first[one.id]:
                found.append((last.id, one.id))
    return found
