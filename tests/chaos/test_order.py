"""The promise of an ordered route, while its owners are killed and frozen and its sink fails: if a
job was committed before another of its key was inserted, it is delivered first."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from riverbridge.model.outcome import Outcome
from riverbridge.sinks.base import Message
from tests.chaos.processes import Process, Rows, Scene
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.wait import eventually

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


def test_the_check_finds_what_was_overtaken() -> None:
    jobs = [Inserted(1, "a", 0, 1), Inserted(2, "a", 2, 9), Inserted(3, "a", 3, 4)]
    assert overtaken(jobs, [1, 3, 2, 1]) == []
    assert overtaken(jobs, [2, 1, 3]) == [(1, 2)]
    assert overtaken(jobs, [2, 3, 1]) == [(1, 2), (1, 3)]


class Fleet:
    """Three bridges, one of which owns the route."""

    def __init__(self, scene: Scene, *, refuse: float) -> None:
        self._scene = scene
        self._refuse = refuse
        self.processes = {name: self._start(name) for name in ("one", "two", "three")}
        for process in self.processes.values():
            process.until_serving(60)

    def _start(self, name: str) -> Process:
        return self._scene.start(name, ORDERED, refuse=self._refuse)

    def owner(self) -> str:
        """The name of the process that owns the route now."""

        def find() -> str | None:
            row = self._scene.connection.execute("SELECT owner FROM riverbridge_route").fetchone()
            return None if row is None or row[0] is None else str(row[0]).split("_")[1]

        return str(eventually(find))

    def until_another_owns(self, than: str) -> None:
        eventually(lambda: self.owner() != than, 60)

    def kill_the_owner(self) -> None:
        name = self.owner()
        self.processes[name].send(signal.SIGKILL)
        self.processes[name].wait(10)
        self.until_another_owns(name)
        self.processes[name] = self._start(name)

    def freeze_the_owner(self) -> None:
        name = self.owner()
        self.processes[name].send(signal.SIGSTOP)
        self.until_another_owns(name)
        self.processes[name].send(signal.SIGCONT)


SHORT = pytest.param(3000, 40, 400.0, 1.0, id="short")
LONG = [
    pytest.param(
        50_000,
        keys,
        2000.0,
        5.0,
        id=f"{keys}-keys",
        marks=[pytest.mark.slow, pytest.mark.timeout(900)],
    )
    for keys in (200, 20_000)
]


@pytest.mark.parametrize(("jobs", "keys", "rate", "late"), [SHORT, *LONG])
def test_order_is_kept_while_owners_are_killed_and_frozen(
    scene: Scene, jobs: int, keys: int, rate: float, late: float
) -> None:
    fleet = Fleet(scene, refuse=0.02)
    with Inserters(scene.database, jobs=jobs, keys=keys, rate=rate, late=late) as inserters:

        def reached(part: float) -> None:
            eventually(lambda: len(inserters.inserted) >= part * jobs, 300)

        reached(0.2)
        fleet.kill_the_owner()
        reached(0.4)
        fleet.freeze_the_owner()
        reached(0.6)
        scene.ledger.down("test", True)
        reached(0.65)
        scene.ledger.down("test", False)
        reached(0.8)
        fleet.kill_the_owner()
    # A process that was killed serves its first jobs one at a time once it owns the route.
    scene.until({"completed": inserters.total}, 600)
    arrived = [entry.id for entry in scene.ledger.entries("acked")]
    assert set(arrived) == {one.id for one in inserters.inserted}
    assert len(scene.ledger.entries("refused")) > 0
    assert overtaken(inserters.inserted, arrived) == []
    assert len({entry.pid for entry in scene.ledger.entries("acked")}) >= 2


@pytest.mark.parametrize("claim", ["auto", "lease"])
def test_what_outlasts_its_lock_keeps_its_key_as_a_lease(database: Database, claim: str) -> None:
    busy: set[str | None] = set()
    wrong: list[str] = []

    class Slow(ScriptedSink):
        def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
            keys = [message.key for message in messages]
            if len(set(keys)) < len(keys) or busy.intersection(keys):
                wrong.append(f"{keys} while {busy} are out")
            busy.update(keys)
            try:
                return super().deliver(messages, deadline)
            finally:
                busy.difference_update(keys)

    sink = Slow(delay=0.3)
    route = {name.removeprefix("RIVERBRIDGE_"): value for name, value in ORDERED.items()}
    env = route | {"HOLD": "0.1", "ROUTES__TEST__CLAIM": claim}
    keys = ["a", "b", "a", "a", "b", "c"]
    with database.connect() as connection, running_bridge(database, {"slow": sink}, env):
        rows = connection.execute(INSERT, {"keys": keys, "ahead": 0.0}).fetchall()
        done = "SELECT count(*) FROM river_job WHERE state = 'completed' AND attempt = 1"
        eventually(lambda: connection.execute(done).fetchone() == (len(keys),))
    assert wrong == []
    for key in "abc":
        mine = [id_ for id_, other in rows if other == key]
        assert [id_ for id_ in sink.job_ids if id_ in mine] == sorted(mine)
