"""SIGTERM under load: what is out is finished or handed back, and nothing is left behind."""

from __future__ import annotations

import signal
import time

from tests.chaos.processes import Process, Scene
from tests.support.wait import eventually

JOBS = 20_000


def _stop(process: Process, grace: float) -> float:
    """Seconds from SIGTERM to a clean exit."""
    began = time.monotonic()
    process.send(signal.SIGTERM)
    assert process.wait(grace + 20) == 0
    return time.monotonic() - began


def _records(scene: Scene) -> int:
    row = scene.connection.execute("SELECT count(*) FROM riverbridge_process").fetchone()
    assert row is not None
    return int(row[0])


def test_a_stop_under_load_leaves_nothing_behind(scene: Scene) -> None:
    first = scene.start("one", {"RIVERBRIDGE_GRACE": "5"}, delay=0.05).until_serving()
    ids = scene.insert(JOBS)
    eventually(lambda: len(scene.ledger.entries("begin")) > 2000)
    eventually(lambda: _records(scene) == 1)
    assert _stop(first, 5) < 6
    states = scene.states()
    assert set(states) == {"available", "completed"}, "stopped after all was done"
    assert scene.sessions("riverbridge%") == 0
    assert _records(scene) == 0
    assert scene.ledger.counts("begin") == scene.ledger.counts("acked")
    assert len(scene.ledger.counts()) == states["completed"]
    second = scene.start("two")
    scene.until({"completed": JOBS}, 30)
    assert _stop(second, 5) < 6
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert not second.said("died without signing off")


def test_a_stop_waits_for_leases_and_settles_them(scene: Scene) -> None:
    process = scene.start("one", {"RIVERBRIDGE_HOLD": "0.1"}, delay=3).until_serving()
    ids = scene.insert(50)
    scene.until({"running": 50})
    assert _stop(process, 25) < 5
    assert scene.states() == {"completed": 50}
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert _records(scene) == 0


def test_leases_unanswered_at_the_end_of_the_grace_are_handed_back(scene: Scene) -> None:
    scene.keep_history()
    settings = {"RIVERBRIDGE_HOLD": "0.1", "RIVERBRIDGE_GRACE": "1"}
    process = scene.start("one", settings, delay=30).until_serving()
    scene.insert(50)
    scene.until({"running": 50})
    assert _stop(process, 1) < 1 + 1.5
    assert scene.states() == {"available": 50}
    assert scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall() == [(0, 0)]
    assert [state for _, state, _, _ in scene.history()] == ["running"] * 50 + ["available"] * 50
    assert process.said("handed 50 unanswered jobs back")
    assert _records(scene) == 0


def test_a_second_signal_ends_it_at_once(scene: Scene) -> None:
    process = scene.start("one", delay=30).until_serving()
    scene.insert(50)
    eventually(lambda: len(scene.ledger.entries("begin")) == 50)
    began = time.monotonic()
    process.send(signal.SIGTERM)
    eventually(lambda: process.said("stopping"))
    process.send(signal.SIGTERM)
    assert process.wait(5) == 1
    assert time.monotonic() - began < 2
    # Postgres gives the rows back by itself.
    eventually(lambda: scene.sessions("riverbridge%") == 0)
