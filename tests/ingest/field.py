"""Numbered events, and processes that make jobs of them and are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.database import Database
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
BAD_EVERY = 50
"""After so many events comes one that is no JSON: most batches have something for quarantine."""


class Field(ABC):
    """Somewhere events are sent to. sent, bad: how many were, and how many that are no JSON.

    cleaned: how often each event was a job that `clean` removed.
    """

    def __init__(self, database: Database, told: dict[str, object]) -> None:
        """told: what a process has to know to read them (`tests.ingest.killed`)."""
        self.database = database
        self.sent = self.bad = self.killed = 0
        self.cleaned: Counter[int] = Counter()
        self._told = {"dsn": database.dsn} | told

    def produce(self, count: int) -> None:
        """So many more events, and among them some that are no JSON."""
        bodies: list[bytes] = []
        for number in range(self.sent, self.sent + count):
            bodies.append(b'{"n": %d}' % number)
            if (number + 1 - self.sent) % BAD_EVERY == 0 or number + 1 == self.sent + count:
                bodies.append(b'{"n": %d' % number)
        self.send(bodies)
        self.sent += count
        self.bad += len(bodies) - count

    def clean(self) -> None:
        """Remove all jobs, as River's cleaner does with finished ones."""
        with self.database.connect() as connection:
            rows = connection.execute(
                "DELETE FROM river_job RETURNING (args->>'n')::int"
            ).fetchall()
        self.cleaned.update(n for (n,) in rows)

    @abstractmethod
    def send(self, bodies: Sequence[bytes]) -> None:
        """Let these events happen."""

    @abstractmethod
    def done(self) -> bool:
        """Whether all that was sent was read."""

    @contextmanager
    def process(self, **told: object) -> Iterator[subprocess.Popen[bytes]]:
        with child_of("killed", self._told | told) as child:
            yield child

    def kill_at_every_point(self, points: Sequence[str], feed: int, latest: int = 4) -> None:
        """latest: at which time of reaching its point a process dies at the latest."""
        for number, point in enumerate(points):
            self.produce(feed)
            nth = random.randint(1, latest)
            with self.process(point=point, nth=nth, signal=signal.SIGKILL) as child:
                # Every other time a second member takes events away meanwhile, and dies too.
                if number % 2:
                    with self.process() as other:
                        eventually(lambda: child.poll() is not None or self.done(), within=60)
                        other.kill()
                eventually(lambda: child.poll() is not None or self.done(), within=60)
                self.killed += child.poll() == -signal.SIGKILL

    def freeze_at(self, point: str) -> None:
        """Freeze a process at a point, let another do its work, and let it go on."""
        with self.process(point=point, nth=2, signal=signal.SIGSTOP) as frozen:

            def stopped() -> bool:
                stat = Path(f"/proc/{frozen.pid}/stat").read_text()
                return stat.rpartition(")")[2].split()[0] == "T"

            eventually(stopped, within=30)
            self.finish()
            frozen.send_signal(signal.SIGCONT)
            self.produce(100)
            eventually(self.done, within=60)

    def finish(self) -> None:
        with self.process():
            eventually(self.done, within=120, every=0.1)


@contextmanager
def child_of(module: str, told: dict[str, object]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m tests.ingest.<module>`, ended with the block. told: what it has to know."""
    command = [sys.executable, "-m", f"tests.ingest.{module}", json.dumps(told)]
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        try:
            child.wait(20)
        finally:
            child.kill()
            child.wait(5)
