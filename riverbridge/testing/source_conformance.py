"""What every source has to do, as tests: for ours, and for those that other packages bring.

    class TestPigeons(SourceConformance):
        @pytest.fixture
        def harness(self) -> Iterator[SourceHarness]:
            ...

Each test lets events happen, has something go wrong, and counts the jobs.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import psycopg
import pytest

from riverbridge.bridge.deposit import Depositor
from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.bridge.quarantine import retry
from riverbridge.sources.base import Bounds
from riverbridge.store import ingest
from riverbridge.testing.crash import POINTS, Crashed, Point, Trap, crash, lose_line
from riverbridge.testing.source_harness import SourceHarness

SOURCE = "conformance"
PATIENCE = 30.0
"""Seconds until every event has become a job."""

DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
POISON = (b'{"n": "\xff"}', b'{"n": 1', b'{"n": "\\u0000"}', DEEP, b"", b"\x00\x00\x00\x00\x01{}")
"""Bodies that no job can be made of."""


class Trial:
    """Receivers of one test, and what they left in the database."""

    def __init__(self, harness: SourceHarness) -> None:
        self.harness = harness
        self._sent = 0
        keep = timedelta(days=1) if harness.remembers else None
        self.mapper = Mapper(SOURCE, Plan(kind="event"))
        self.intake = Intake(self.mapper, Bounds(count=10, seconds=0.1), remember=keep)
        self.depositor = Depositor(self.mapper, remember=keep)

    def send(self, count: int) -> list[bytes]:
        """So many events, numbered on."""
        bodies = [b'{"n": %d}' % n for n in range(self._sent, self._sent + count)]
        self._sent += count
        self.harness.send(bodies)
        return bodies

    @contextmanager
    def receiving(self, trap: Trap | None = None) -> Iterator[threading.Thread]:
        """A receiver in a thread, which ends at the latest with the block."""
        trap = trap or Trap("received", nth=-1)
        receiver = Receiver(
            SOURCE,
            lambda: trap.around(self.harness.open()),
            self.intake,
            connect=trap.connect(self.harness.dsn),
        )
        stop = threading.Event()

        def run() -> None:
            with suppress(Crashed):
                receiver.run(stop)

        thread = threading.Thread(target=run, name="receiver", daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the source did not stop"

    def jobs(self) -> Counter[int]:
        """How often each event is there as a job."""
        with psycopg.connect(self.harness.dsn, autocommit=True) as connection:
            rows = connection.execute("SELECT args::text FROM river_job").fetchall()
        return Counter(json.loads(text)["n"] for (text,) in rows)

    def quarantined(self) -> list[ingest.Quarantined]:
        with psycopg.connect(self.harness.dsn, autocommit=True) as connection:
            return ingest.quarantined(connection)

    def complete(self) -> bool:
        """Whether every event that was sent is a job, and none of them two."""
        jobs = self.jobs()
        assert not jobs or max(jobs.values()) == 1, f"more than one job: {jobs.most_common(3)}"
        return len(jobs) == self._sent

    def wait(self, done: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < limit, f"{len(self.jobs())} of {self._sent} became jobs"
            time.sleep(0.02)


class SourceConformance:
    """Subclass it with a fixture `harness`, as `riverbridge.testing.source_harness` wants it."""

    @pytest.fixture
    def harness(self) -> Iterator[SourceHarness]:
        """To be overridden: makes a harness, and cleans up after it."""
        pytest.fail(f"{type(self).__name__} needs a fixture `harness`", pytrace=False)

    @pytest.fixture
    def trial(self, harness: SourceHarness) -> Trial:
        return Trial(harness)

    @pytest.mark.parametrize("point", POINTS)
    def test_each_event_is_one_job_wherever_it_ends(self, trial: Trial, point: Point) -> None:
        trap = Trap(point, action=crash)
        trial.send(35)
        with trial.receiving(trap) as thread:
            trial.wait(lambda: trap.sprung)
            thread.join(PATIENCE)
        with trial.receiving():
            trial.wait(trial.complete)

    @pytest.mark.parametrize("point", ["half written", "written", "committing"])
    def test_each_event_is_one_job_wherever_the_line_to_postgres_is_lost(
        self, trial: Trial, point: Point
    ) -> None:
        trap = Trap(point, action=lose_line)
        trial.send(35)
        with trial.receiving(trap) as thread:
            trial.wait(lambda: trap.sprung and trial.complete())
            assert thread.is_alive(), "it has to go on by itself"
            trial.send(5)
            trial.wait(trial.complete)

    def test_a_stop_loses_nothing(self, trial: Trial) -> None:
        stopping = threading.Event()
        trap = Trap("written", action=stopping.set)
        trial.send(35)
        with trial.receiving(trap):
            assert stopping.wait(PATIENCE)
        with trial.receiving():
            trial.wait(trial.complete)

    def test_poison_blocks_nothing_and_is_kept_as_it_came(self, trial: Trial) -> None:
        poison = [body for body in POISON if trial.harness.carries(body)]
        assert len(poison) > 1
        trial.send(5)
        trial.harness.send(poison)
        trial.send(5)
        with trial.receiving():
            trial.wait(trial.complete)
            trial.wait(lambda: len(trial.quarantined()) == len(poison))
        assert {row.body for row in trial.quarantined()} == set(poison)
        assert all(row.reason for row in trial.quarantined())

    def test_what_the_database_refuses_blocks_nothing_and_can_be_made_a_job_later(
        self, trial: Trial
    ) -> None:
        with psycopg.connect(trial.harness.dsn, autocommit=True) as connection:
            connection.execute(
                "ALTER TABLE river_job ADD CONSTRAINT odd CHECK ((args->>'n')::int <> 7)"
            )
            trial.send(20)
            with trial.receiving():
                trial.wait(lambda: len(trial.jobs()) == 19 and len(trial.quarantined()) == 1)
            [row] = trial.quarantined()
            assert json.loads(row.body or b"") == {"n": 7}
            assert "odd" in row.reason
            assert "odd" in (retry(connection, trial.depositor, row.id) or "")
            connection.execute("ALTER TABLE river_job DROP CONSTRAINT odd")
            assert [retry(connection, trial.depositor, row.id) for _ in range(2)] == [None, None]
        assert trial.complete()
        assert trial.quarantined() == []

    def test_what_comes_again_makes_no_second_job_though_the_first_is_gone(
        self, trial: Trial
    ) -> None:
        bodies = trial.send(10)
        with trial.receiving():
            trial.wait(trial.complete)
        with psycopg.connect(trial.harness.dsn, autocommit=True) as connection:
            connection.execute("DELETE FROM river_job")
        if not trial.harness.send_again(bodies):
            pytest.skip("the server delivers nothing again")
        [mark] = trial.send(1)
        with trial.receiving():
            trial.wait(lambda: json.loads(mark)["n"] in trial.jobs())
        assert trial.jobs() == {json.loads(mark)["n"]: 1}

    def test_it_says_when_nothing_is_wrong(self, trial: Trial) -> None:
        source = trial.harness.open()
        try:
            source.idle(0.05)
            assert source.problem() is None
        finally:
            source.close()
