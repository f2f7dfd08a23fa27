"""2,000 jobs a second to three sinks, one of which fails: what the other two notice of it.

Each run has an undisturbed phase, one with the fault and one in which the third is back, as long as
each other, and goes on until all jobs are done. `make test-fanout` runs them on a quiet machine;
RIVERBRIDGE_TEST_FANOUT_SECONDS is the length of a phase.
"""

from __future__ import annotations

import collections
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from riverbridge.embedded.process import ChildProcess, plain_environment
from tests.chaos.fanout.bridge import THIRD
from tests.support.database import Database
from tests.support.wait import eventually

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("RIVERBRIDGE_TEST_FANOUT_SECONDS", "60"))
RATE = float(os.environ.get("RIVERBRIDGE_TEST_FANOUT_RATE", "2000"))
WARM_UP = 3.0
HEALTHY = ("first", "second")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300 + 8 * SECONDS),
]


class Phase(NamedTuple):
    """The time from `began` to `ended`, as one sink saw it: jobs a second that were committed and
    that it got, and how late it got those."""

    name: str
    committed: float
    rate: float
    p50: float
    p99: float
    longest: float

    def __str__(self) -> str:
        return (
            f"{self.name:<24} {self.rate:7.0f} of {self.committed:.0f} jobs/s  "
            f"p50 {self.p50 * 1000:7.1f} ms  "
            f"p99 {self.p99 * 1000:7.1f} ms  longest {self.longest * 1000:7.1f} ms"
        )


class Run:
    """One bridge, one inserter, and a switch."""

    def __init__(self, database: Database, home: Path) -> None:
        self._dsn = database.dsn
        self._home = home
        self._switch, self._ledger = home / "switch", home / "ledger"
        self.committed: dict[int, float] = {}
        self.acked: dict[str, dict[int, list[float]]] = {}

    def set(self, mode: str) -> float:
        """From now on the third sink does so; returns the time."""
        before = self._switch.with_suffix(".new")
        before.write_text(mode)
        before.rename(self._switch)
        return time.monotonic()

    def bridge(self) -> ChildProcess:
        settings = {"RIVERBRIDGE_LOG__LEVEL": "info", "RIVERBRIDGE_PROBES__PORT": "0",
                    "RIVERBRIDGE_HTTP__CONSOLE": "false"}  # fmt: skip
        for name in (*HEALTHY, THIRD):
            settings[f"RIVERBRIDGE_SINKS__{name.upper()}__TYPE"] = "kafka"
            settings[f"RIVERBRIDGE_SINKS__{name.upper()}__BOOTSTRAP_SERVERS"] = "127.0.0.1:9"
            settings[f"RIVERBRIDGE_SINKS__{name.upper()}__TOPIC"] = "t"
        settings["RIVERBRIDGE_ROUTES__R__QUEUES"] = "outbox"
        # River's own wait after the third refusal would be longer than the test.
        settings["RIVERBRIDGE_ROUTES__R__RETRY"] = "exponential"
        settings["RIVERBRIDGE_ROUTES__R__RETRY_DELAY"] = "1"
        settings["RIVERBRIDGE_ROUTES__R__RETRY_MAX_DELAY"] = "10"
        module = "tests.chaos.fanout.bridge"
        return ChildProcess(
            [sys.executable, "-m", module, str(self._switch), str(self._ledger)],
            log=self._home / "log",
            cwd=ROOT,
            env=plain_environment(PYTHONPATH=str(ROOT), DATABASE_URL=self._dsn, **settings),
        )

    def inserter(self, seconds: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.chaos.inserter"),
                *(self._dsn, str(RATE), str(seconds), str(self._home / "committed")),
            ],
            cwd=ROOT,
        )

    def read(self) -> None:
        for line in (self._home / "committed").read_text().splitlines():
            id_, at = line.split()
            self.committed[int(id_)] = float(at)
        self.acked = {name: collections.defaultdict(list) for name in (*HEALTHY, THIRD)}
        for line in self._ledger.read_text().splitlines():
            name, id_, at = line.split()
            self.acked[name][int(id_)].append(float(at))

    def phase(self, name: str, sink: str, began: float, ended: float) -> Phase:
        first = {id_: times[0] for id_, times in self.acked[sink].items()}
        late = [first[id_] - at for id_, at in self.committed.items() if began <= at <= ended]
        got = sum(began <= at <= ended for at in first.values())
        cuts = statistics.quantiles(late, n=100, method="inclusive")
        seconds = ended - began
        return Phase(name, len(late) / seconds, got / seconds, cuts[49], cuts[98], max(late))


@pytest.mark.parametrize("fault", ["down", "slow", "refusing"])
def test_healthy_sinks_hardly_notice_a_third_that_fails(
    database: Database, tmp_path: Path, fault: str
) -> None:
    run = Run(database, tmp_path)
    run.set("well")
    bridge = run.bridge()
    with psycopg.connect(database.dsn, autocommit=True) as watch:
        bridge.start(lambda: "serves" in (tmp_path / "log").read_text(), 30)
        try:
            with run.inserter(WARM_UP + 3 * SECONDS) as inserter:
                time.sleep(WARM_UP)
                began = time.monotonic()
                time.sleep(SECONDS)
                failed = run.set(fault)
                time.sleep(SECONDS)
                left, back = _unfinished(watch), run.set("well")
                assert inserter.wait(SECONDS * 2 + 60) == 0
            eventually(lambda: _unfinished(watch) == 0, 120 + 4 * SECONDS, every=0.5)
            recovered = time.monotonic() - back
            states = watch.execute(
                "SELECT state::text, count(*) FROM river_job GROUP BY 1"
            ).fetchall()
        finally:
            bridge.stop(within=40.0)
    run.read()
    ended = max(run.committed.values())
    phases = {
        sink: [
            run.phase(f"{sink}, undisturbed", sink, began, failed),
            run.phase(f"{sink}, third {fault}", sink, failed, back),
            run.phase(f"{sink}, third is back", sink, back, ended),
        ]
        for sink in HEALTHY
    }
    print(f"\nthird {fault}, {SECONDS:g} s at {RATE:g} jobs/s:")
    for phase in (phase for each in phases.values() for phase in each):
        print(f"  {phase}")
    sent = sum(map(len, run.acked[THIRD].values())) / len(run.committed)
    print(f"  {left} jobs waited then, all were done {recovered:.1f} s later; the third got each "
          f"{sent:.3f} times")  # fmt: skip

    assert dict(states) == {"completed": len(run.committed)}
    for sink in HEALTHY:
        assert run.acked[sink].keys() == run.committed.keys()
        assert [id_ for id_, times in run.acked[sink].items() if len(times) > 1] == []
        undisturbed, disturbed, _ = phases[sink]
        assert disturbed.rate >= 0.95 * disturbed.committed
        assert disturbed.p99 <= 2 * undisturbed.p99
    assert run.acked[THIRD].keys() >= run.committed.keys()


def _unfinished(watch: psycopg.Connection[tuple[int]]) -> int:
    row = watch.execute(
        "SELECT count(*) FROM river_job WHERE state IN"
        " ('available', 'pending', 'retryable', 'running', 'scheduled')"
    ).fetchone()
    assert row is not None
    return row[0]
