"""How long jobs wait: urgent ones behind a backlog, and those that are committed late."""

from __future__ import annotations

import statistics
import time

from tests.chaos.priority import measure
from tests.chaos.processes import Scene
from tests.support.wait import eventually


def test_an_urgent_job_overtakes_a_backlog(scene: Scene) -> None:
    waits = measure(scene, 15)
    print(f"median {statistics.median(waits) * 1e3:.0f} ms, at most {max(waits) * 1e3:.0f} ms")
    assert statistics.median(waits) < 0.5


def test_a_job_committed_late_is_delivered_soon_after(scene: Scene) -> None:
    """Its scheduled_at is the beginning of its transaction, which others have long passed."""
    scene.start("one").until_serving()
    with scene.database.connect(autocommit=False) as late:
        row = late.execute(
            "INSERT INTO river_job (kind, queue, max_attempts, args)"
            " VALUES ('late', 'outbox', 1, '{}') RETURNING id"
        ).fetchone()
        assert row is not None
        until = time.monotonic() + 5
        while time.monotonic() < until:
            ids = scene.insert(20)
            eventually(lambda ids=ids: set(ids) <= set(scene.ledger.counts()))  # type: ignore[misc]
        assert row[0] not in scene.ledger.counts()
        late.commit()
        committed = time.time()
    scene.insert(1000)
    eventually(lambda: row[0] in scene.ledger.counts(), 5)
    (entry,) = (entry for entry in scene.ledger.entries("acked") if entry.id == row[0])
    assert entry.at - committed < 1.5
