"""A key whose first job fails for a minute, with 100,000 jobs behind it, delays no other key.

`make test-order` runs it, on a quiet machine; RIVERBRIDGE_TEST_ORDER_SECONDS is a phase's length.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from riverbridge.embedded.process import free_port
from tests.chaos.ordered import ORDERED
from tests.chaos.processes import ROOT, Scene
from tests.support.wait import eventually

SECONDS = float(os.environ.get("RIVERBRIDGE_TEST_ORDER_SECONDS", "60"))
RATE = float(os.environ.get("RIVERBRIDGE_TEST_ORDER_RATE", "2000"))
BEHIND = 100_000
WARM_UP = 5.0
PILING_UP = 60.0
"""Seconds at most until all of `BEHIND` are inserted and read."""

INSERT = """
INSERT INTO river_job (kind, queue, max_attempts, args)
SELECT 'held', 'outbox', 1000, '{"k": "held"}' FROM generate_series(1, %s)
RETURNING id
"""


class Claims(NamedTuple):
    """How many there were so far, the time (time.monotonic), and the seconds they took together."""

    at: float
    claims: float
    seconds: float

    @classmethod
    def of(cls, port: int) -> Claims:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = {
            what: sum(
                float(value)
                for value in re.findall(
                    rf"^riverbridge_claim_duration_seconds_{what}{{.*}} (\S+)$", text, re.MULTILINE
                )
            )
            for what in ("count", "sum")
        }
        return cls(time.monotonic(), found["count"], found["sum"])


class Phase(NamedTuple):
    """What the other keys saw: jobs a second that were committed and delivered, how late those
    were, and how long a claim took on average."""

    name: str
    committed: float
    rate: float
    p50: float
    p99: float
    longest: float
    claim: float

    def __str__(self) -> str:
        return (
            f"{self.name:<12} {self.rate:6.0f} of {self.committed:.0f} jobs/s  claim "
            f"{self.claim * 1000:6.2f} ms  from commit to delivery p50 {self.p50 * 1000:6.1f} ms  "
            f"p99 {self.p99 * 1000:6.1f} ms  longest {self.longest * 1000:6.1f} ms"
        )


def phase(
    name: str,
    began: Claims,
    ended: Claims,
    committed: Mapping[int, float],
    delivered: Mapping[int, float],
) -> Phase:
    late = [delivered[id_] - at for id_, at in committed.items() if began.at <= at <= ended.at]
    got = sum(began.at <= delivered[id_] <= ended.at for id_ in committed)
    seconds = ended.at - began.at
    cuts = statistics.quantiles(late, n=100, method="inclusive")
    claim = (ended.seconds - began.seconds) / (ended.claims - began.claims)
    return Phase(name, len(late) / seconds, got / seconds, cuts[49], cuts[98], max(late), claim)


def pile_up(scene: Scene) -> tuple[int, list[int]]:
    """A job that is refused, and `BEHIND` of its key after it; returns their ids."""
    with scene.database.connect(autocommit=False) as connection:
        [(head,)] = connection.execute(INSERT, (1,)).fetchall()
        scene.ledger.refuse("test", head)
        connection.commit()
        behind: list[int] = []
        for _ in range(BEHIND // 1000):
            behind += [id_ for (id_,) in connection.execute(INSERT, (1000,)).fetchall()]
            connection.commit()
    return head, behind


def behind_by(scene: Scene) -> int:
    """How many jobs were inserted after the oldest one that was delivered lately.

    To count what is available would read all that is held back, and slow down what is measured.
    """
    row = scene.connection.execute("SELECT max(id) FROM river_job").fetchone()
    assert row is not None
    oldest = min(one.id for one in scene.ledger.entries("acked", last=9999))
    return int(row[0]) - oldest


@pytest.mark.slow
@pytest.mark.timeout(300 + 5 * SECONDS)
def test_a_key_that_is_held_back_delays_no_other(scene: Scene, tmp_path: Path) -> None:
    port, wall = free_port(), time.time() - time.monotonic()
    env = ORDERED | {
        "RIVERBRIDGE_PROBES__PORT": str(port),
        "RIVERBRIDGE_ROUTES__TEST__RETRY_DELAY": "1",
    }
    scene.start("one", env).until_serving()
    seconds = WARM_UP + 2 * SECONDS + PILING_UP
    others = [scene.database.dsn, str(RATE), str(seconds), str(tmp_path / "committed")]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.inserter", *others], cwd=ROOT
    ) as inserter:
        try:
            time.sleep(WARM_UP)
            marks = [Claims.of(port)]
            time.sleep(SECONDS)
            marks.append(Claims.of(port))
            head, behind = pile_up(scene)
            # Rows are read by id: what comes after the last of them is read after them.
            eventually(lambda: behind_by(scene) < RATE / 2, PILING_UP, every=0.2)
            marks.append(Claims.of(port))
            time.sleep(SECONDS)
            marks.append(Claims.of(port))
            scene.ledger.refuse("test")
            assert inserter.wait(PILING_UP + 60) == 0
        finally:
            inserter.kill()
    lines = (tmp_path / "committed").read_text().splitlines()
    committed = {int(id_): float(at) for id_, at in map(str.split, lines)}
    done = "SELECT count(*) FILTER (WHERE kind <> 'held'), count(*) FILTER (WHERE kind = 'held')"
    done += " FROM river_job WHERE state = 'completed'"

    def delivered_enough() -> bool:
        others, of_key = scene.connection.execute(done).fetchone() or (0, 0)
        return bool(others == len(committed) and of_key >= 1000)

    eventually(delivered_enough, 60, every=0.5)

    acked = scene.ledger.entries("acked")
    delivered = {one.id: one.at - wall for one in reversed(acked)}
    undisturbed, piling_up, held = (
        phase(name, marks[place], marks[place + 1], committed, delivered)
        for place, name in enumerate(("undisturbed", "piling up", "held back"))
    )
    refused = scene.ledger.counts("refused")
    print(f"\n{BEHIND:,} jobs behind one that was refused {refused[head]} times:")
    for one in (undisturbed, piling_up, held):
        print(f"  {one}")
    of_key = [one.id for one in acked if one.id not in committed]
    rate = 999 / (delivered[behind[998]] - delivered[head])
    print(f"  once it was taken, those behind it came at {rate:.0f} a second")

    assert set(refused) == {head}
    assert refused[head] >= SECONDS / 2
    assert of_key == [head, *behind][: len(of_key)]
    assert held.rate >= 0.95 * held.committed
    assert held.claim <= 2 * undisturbed.claim
    assert held.p50 <= 2 * undisturbed.p50
    assert held.p99 <= 2 * undisturbed.p99
