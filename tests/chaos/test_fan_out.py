"""Two sinks, one of them down: a job is done when both have it, and waiting spends no attempt."""

from __future__ import annotations

from tests.chaos.processes import SCRIPTED, Scene
from tests.support.wait import eventually

OTHER = {name.replace("__TEST__", "__OTHER__"): value for name, value in SCRIPTED.items()}


def test_a_job_is_completed_when_both_sinks_have_it(scene: Scene) -> None:
    scene.ledger.down("other", True)
    process = scene.start("one", OTHER).until_serving()
    ids = scene.insert(100, max_attempts=1)
    eventually(lambda: process.said("sink other does not answer"))
    eventually(lambda: set(scene.states()) == {"available"})
    assert scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall() == [(0, 0)]
    scene.ledger.down("other", False)
    scene.until({"completed": 100}, 15)
    acked: dict[str, set[int]] = {sink: set() for sink in ("test", "other")}
    for entry in scene.ledger.entries("acked"):
        acked[entry.sink].add(entry.id)
    assert acked == {"test": set(ids), "other": set(ids)}
    assert scene.connection.execute(
        "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
    ).fetchall() == [(1, 0)]
