"""The promise of an ordered route, while its owners are killed and frozen and its sink fails: if a
job was committed before another of its key was inserted, it is delivered first."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

from riverbridge.model.outcome import Outcome
from riverbridge.sinks.base import Message
from tests.chaos.ordered import INSERT, ORDERED, Inserted, Inserters, overtaken
from tests.chaos.processes import Process, Scene
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.wait import eventually


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
