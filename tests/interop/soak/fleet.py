"""The processes of the soak, on both sides, and who of them leads."""

from __future__ import annotations

import itertools
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import riverbridge
from riverbridge.embedded.process import ChildProcess, plain_environment
from tests.interop.soak.journals import Journal
from tests.support.database import Database
from tests.support.wait import eventually

Side = Literal["go", "python"]
How = Literal["stop", "kill"]

OTHER: dict[Side, Side] = {"go": "python", "python": "go"}
NAME = re.compile(r"(?:riverbridge_)?((go|python)-\d+)(?:_|$)")
LEADER = "SELECT leader_id, elected_at FROM river_leader WHERE expires_at > now()"
RUNNING = """
SELECT attempted_by[array_upper(attempted_by, 1)], extract(epoch FROM now() - attempted_at)::float8
FROM river_job WHERE state = 'running'
"""


def name_of(client_id: str) -> str:
    """The process behind a client's id: a pool puts words around its name."""
    found = NAME.match(client_id)
    assert found is not None, client_id
    return found[1]


@dataclass(eq=False)
class Member:
    side: Side
    journal: Journal
    process: ChildProcess

    @property
    def name(self) -> str:
        return self.journal.name


class Terms:
    """Watches river_leader. Its length is the number of terms."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: list[tuple[str, Any]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def changes(self, to: Side) -> int:
        """How often the leadership went over to this side from the other."""
        sides = [name_of(leader).partition("-")[0] for leader, _ in self._seen]
        return sum(a != b == to for a, b in itertools.pairwise(sides))

    def __len__(self) -> int:
        return len(self._seen)

    def _watch(self, stop: threading.Event) -> None:
        with self._database.connect() as connection:
            while not stop.wait(0.02):
                term = connection.execute(LEADER).fetchone()
                if term is not None and (not self._seen or self._seen[-1] != term):
                    self._seen.append((term[0], term[1]))


class Fleet:
    """rescue: after how many seconds a leader takes a job from whoever lost it."""

    def __init__(self, program: Path, database: Database, home: Path, rescue: int) -> None:
        self._program = program
        self._database = database
        self._home = home
        self._rescue = rescue
        self._numbers = itertools.count(1)
        self.members: list[Member] = []
        self.journals: list[Journal] = []
        self.kills: dict[Side, int] = {"go": 0, "python": 0}
        self._look = database.connect()

    @contextmanager
    def ended(self) -> Iterator[None]:
        """At the end of the block all are stopped; after an error they are killed."""
        try:
            yield
            for member in list(self.members):
                self.stop(member)
        finally:
            for member in self.members:
                member.process.kill()
            self._look.close()

    def start(self, *sides: Side) -> None:
        """Start one process a side; returns once all work."""
        started = [self._spawn(side) for side in sides]
        for member in started:
            eventually(partial(member.journal.says, "started"), within=30)

    def leader(self) -> Member:
        """Who leads, once it is one of those that live."""
        found = eventually(self._leader, within=40)
        assert found is not None
        return found

    def led_by(self, side: Side) -> None:
        """Returns once a process of this side leads."""
        eventually(lambda: self.leader().side == side, within=40)

    def of(self, side: Side) -> list[Member]:
        """Those of a side that live, its leader last."""
        leader = self._leader()
        return sorted((m for m in self.members if m.side == side), key=lambda m: m is leader)

    def stop(self, member: Member) -> None:
        """It finishes what it has begun; one that does not shows where it hangs."""
        member.process.send(signal.SIGTERM)
        with suppress(AssertionError):
            eventually(lambda: not member.process.running, within=30)
        if member.process.running:
            member.process.send(signal.SIGABRT)  # Go and Python both write all their stacks
        member.process.stop()
        self.members.remove(member)
        assert member.journal.says("stopped"), f"{member.name}:\n{member.process.tail(300)}"

    def is_at_work(self, member: Member) -> bool:
        """Whether it is in the middle of calls, of some of which the table tells."""
        return bool(member.journal.open() and self._left_by(member.journal))

    def kill(self, member: Member) -> None:
        member.journal.killed = time.monotonic_ns()
        member.process.kill()
        self.members.remove(member)
        self.kills[member.side] += 1

    def dead_have_no_fresh_jobs(self) -> bool:
        """Whether a leader may take all that the dead have left `running`, if anything."""
        dead = [journal for journal in self.journals if journal.killed is not None]
        return all(age > self._rescue for journal in dead for age in self._left_by(journal))

    def _left_by(self, journal: Journal) -> list[float]:
        """For how many seconds each job has been `running` that is this process's."""
        rows = self._look.execute(RUNNING).fetchall()
        return [age for client_id, age in rows if name_of(client_id) == journal.name]

    def _spawn(self, side: Side) -> Member:
        name = f"{side}-{next(self._numbers)}"
        journal = Journal(name, self._home / f"{name}.journal")
        common = [name, str(journal.path), f"both,{side}"]
        command: list[str | Path]
        if side == "go":
            command = [self._program, "soak", self._database.dsn, "public", *common]
            command.append(f"{self._rescue}s")
        else:
            command = [sys.executable, "-m", "tests.interop.soak.worker", self._database.dsn]
            command += [*common, str(self._rescue)]
        root = Path(riverbridge.__file__).parents[1]
        process = ChildProcess(
            command,
            log=self._home / f"{name}.log",
            cwd=root,
            env=plain_environment(PYTHONPATH=str(root)),
        )
        process.start(lambda: True)
        member = Member(side, journal, process)
        self.members.append(member)
        self.journals.append(journal)
        return member

    def _leader(self) -> Member | None:
        row = self._look.execute(LEADER).fetchone()
        name = None if row is None else name_of(row[0])
        return next((m for m in self.members if m.name == name), None)
