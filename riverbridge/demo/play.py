"""The demo's course: write, deliver, kill if asked to, read to the end, compare."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from riverbridge.demo.killer import Killer
from riverbridge.demo.report import BACK_KIND, GO_ID, QUEUE, Report
from riverbridge.demo.scene import Scene
from riverbridge.demo.signals import Signals
from riverbridge.demo.writer import Writer
from riverbridge.errors import ServerFailed
from riverbridge.sql import statement
from riverbridge.store.database import connector

KILLS = 3
KILL_EVERY = 15.0
"""Seconds between kills in a demo without an end."""

LIVE_RATE = 50.0
WINDOW = 400
"""Orders written ahead of what is read back, where no rate is set. ministack walks its whole queue
for each request: with 20,000 messages waiting it gives back 200 a second, with few 1,000 and more.
"""

STALLED = 60.0
"""Seconds without any progress after which the demo counts what there is."""


class Options(NamedTuple):
    """jobs: orders to commit, None to go on until Ctrl-C. rate: orders a second; 0
    for as fast as they are read back, or with no end for `LIVE_RATE`."""

    jobs: int | None
    rate: float
    kill: bool


class RoundTrip(msgspec.Struct, frozen=True):
    """What came of the events in Kafka: jobs, and how many a worker worked.

    worked_by: the same by the worker's language: python and go.
    lost: committed orders that came back as no job that was worked. twice: how often an order
    became a second job, or its job was worked a second time.
    """

    jobs: int
    worked: int
    worked_by: dict[str, int]
    lost: int
    twice: int


class Result(msgspec.Struct, frozen=True):
    """What `--json` prints. Copies and losses are summed over both sinks; seconds run from the
    first order to the end of the comparison."""

    inserted: int
    rolled_back: int
    delivered: dict[str, int]
    lost: int
    duplicates: int
    kills: int
    in_flight_at_kills: int
    round_trip: RoundTrip
    seconds: float


def batch_size(options: Options) -> int | None:
    """The bridge's batches. After a crash it serves two of them per lane one job at a time, so a
    run that is to be killed several times takes batches that its number of jobs can bear."""
    if not options.kill:
        return None
    return 100 if options.jobs is None else min(100, max(10, options.jobs // 40))


class Play:
    """One run. `problems` says, line by line, why it failed."""

    def __init__(self, scene: Scene, options: Options, signals: Signals) -> None:
        self.scene = scene
        self.options = options
        self._signals = signals
        connect = connector(scene.database_url, application_name="demo")
        self._connection = connect()
        self.killer = Killer(scene, self._connection)
        once = options.jobs is not None
        self._windowed = once and not options.rate
        self._granted = self._share if options.kill and once else options.jobs
        self.writer = Writer(
            scene.database_url,
            jobs=options.jobs,
            rate=options.rate or (0.0 if once else LIVE_RATE),
            sizes=(10, 50) if once else (1, 5),
        )
        self.phase = "starting the bridge"
        self.problems: list[str] = []
        self.started = time.monotonic()
        self.worked = 0
        self._next_look = 0.0
        self._next_kill = self.started + KILL_EVERY
        self._moved = self.started
        self._last: tuple[object, ...] = ()

    def run(self) -> Result | None:
        """The whole course; None if it was aborted. Raises ServerFailed if a part fails."""
        try:
            self.scene.start_bridge()
            self._allow()
            self.writer.start()
            self.phase = "writing and delivering"
            self._watch()
            if self._signals.aborted:
                return None
            self.phase = "reading to the end"
            self.scene.stop_bridge()
            if not self.scene.read_to_the_end(self._signals.is_aborted):
                return None
            self.phase = "compared"
            return self._result(self.scene.report)
        finally:
            self.writer.stop()
            self._connection.close()

    @property
    def _share(self) -> int:
        """The orders written for each kill; as many come after the last."""
        return (self.options.jobs or 0) // (KILLS + 1)

    def _watch(self) -> None:
        """Until everything is written and settled."""
        while not self._signals.aborted:
            self.scene.check()
            if self.writer.error is not None:
                raise ServerFailed(f"the writer failed: {self.writer.error}")
            if self._signals.ended and self.options.jobs is None:
                self.phase = "delivering what is written"
                self.writer.stop()
                if self._progress()[1] == 0 and self._is_back():
                    return
            elif self.options.jobs is None:
                self._hunt_live()
                self._look_back()
            elif self._once():
                return
            if self._has_stalled():
                return
            self._signals.wait(0.05)

    def _allow(self) -> None:
        """Let the writer go on up to the next kill, and not too far ahead of the reader."""
        if self._granted is None:
            return
        read = min(self.scene.report.kafka.delivered, self.scene.report.sqs.delivered)
        self.writer.allow(min(self._granted, read + WINDOW) if self._windowed else self._granted)

    def _once(self) -> bool:
        """One look at a run with an end; whether it is over."""
        self._allow()
        inserted, done = self.writer.inserted, self.writer.done
        # Asked after: what is open now says something of what was committed by then.
        completed, open_ = self._progress()
        if self.options.kill and self.killer.kills < KILLS:
            self._hunt(completed, None if open_ else inserted)
            return False
        self._look_back()
        return done and open_ == 0 and self._is_back()

    def _is_back(self) -> bool:
        """Whether all that is committed came back from Kafka and was worked."""
        self._next_look = 0.0
        self._look_back()
        return self.worked >= self.writer.inserted

    def _look_back(self) -> None:
        """Count, once a second, what came back."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + 1.0
            _, self.worked, _ = self._counts("demo/worked", kind=BACK_KIND, go=GO_ID)

    def _progress(self) -> tuple[int, ...]:
        return self._counts("demo/progress", queue=QUEUE)

    def _counts(self, name: str, **parameters: str) -> tuple[int, ...]:
        row = self._connection.execute(statement(name), parameters).fetchone()
        assert row is not None  # an aggregate always gives one
        return tuple(map(int, row))

    def _hunt(self, completed: int, idle_at: int | None) -> None:
        """Kill in the middle of a share, then let the next one be written.

        idle_at: how many orders were committed when nothing was open, or None if something was.
        """
        kills = self.killer.kills
        if completed < kills * self._share + self._share // 2:
            return
        if self.killer.strike():
            last = self.killer.kills == KILLS
            self._granted = self.options.jobs if last else (kills + 2) * self._share
        elif idle_at is not None and idle_at == self.options.jobs:
            raise ServerFailed(
                f"everything was delivered before the bridge could be killed {KILLS} times "
                f"({kills} kills): give more --jobs"
            )
        elif idle_at is not None and idle_at == self._granted:
            # Missed: all of this share was delivered between two looks.
            self._granted += max(1, self._share // 4)

    def _hunt_live(self) -> None:
        due = self.options.kill and time.monotonic() >= self._next_kill
        if due and self.killer.strike():
            self._next_kill = time.monotonic() + KILL_EVERY

    def _has_stalled(self) -> bool:
        now = (self.writer.inserted, self.killer.kills, self.worked, self.scene.report)
        if now != self._last:
            self._last, self._moved = now, time.monotonic()
        if time.monotonic() - self._moved < STALLED:
            return False
        self.problems.append(f"nothing moved for {STALLED:g} s: counting what arrived")
        return True

    def _result(self, report: Report) -> Result:
        if report.lost:
            self.problems.append(f"{report.lost} committed orders did not arrive")
        if report.strangers:
            self.problems.append(f"{report.strangers} events arrived whose order was rolled back")
        if report.committed != self.writer.inserted:
            self.problems.append(
                f"{self.writer.inserted} orders were committed and {report.committed} are there"
            )
        jobs, worked, in_go = self._counts("demo/worked", kind=BACK_KIND, go=GO_ID)
        lost, twice = self._counts("demo/round_trip", kind=BACK_KIND)
        back = RoundTrip(jobs, worked, {"python": worked - in_go, "go": in_go}, lost, twice)
        if back.lost or back.twice or back.jobs != report.committed:
            self.problems.append(
                f"of {report.committed} orders {back.jobs} came back from Kafka as jobs; "
                f"{back.lost} were lost, {back.twice} times one was worked again"
            )
        return Result(
            inserted=report.committed,
            rolled_back=self.writer.rolled_back,
            delivered={"kafka": report.kafka.delivered, "sqs": report.sqs.delivered},
            lost=report.lost,
            duplicates=report.kafka.duplicates + report.sqs.duplicates,
            kills=self.killer.kills,
            in_flight_at_kills=self.killer.in_flight,
            round_trip=back,
            seconds=round(time.monotonic() - self.started, 1),
        )
