"""How long an urgent job waits behind a backlog: `python -m tests.chaos.priority` prints it.

The backlog is of priority 4, both lanes are busy with it, and a snapshot held open by another
session keeps every dead row in the way. The aim is 100 ms on an idle machine of two cores.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psycopg

from riverbridge.embedded.postgres import Postgres
from tests.chaos.processes import Rows, Scene
from tests.support.database import Database, build_template, new_name
from tests.support.wait import eventually

AIM = 0.1
"""Seconds from the commit of an urgent job to its acknowledgement."""

BACKLOG = 50_000
LOW = 15_000

ANNOUNCE = "SELECT pg_notify(current_schema() || '.river_insert', '{\"queue\": \"outbox\"}')"


def measure(scene: Scene, urgent: int) -> list[float]:
    """Seconds from commit to acknowledgement of so many jobs of priority 1, one after the other."""
    scene.insert(BACKLOG, priority=4)
    scene.start("one", delay=0.005).until_serving()
    committed: dict[int, float] = {}
    with scene.database.connect(autocommit=False) as reader:
        _hold_a_snapshot(reader)
        eventually(lambda: _backlog(scene) < BACKLOG - 5000, 30)
        for _ in range(urgent):
            if _backlog(scene) < LOW:
                scene.insert(BACKLOG // 2, priority=4)
            with scene.connection.transaction():
                (id_,) = scene.insert(1, priority=1)
                scene.connection.execute(ANNOUNCE)
            committed[id_] = time.time()
            eventually(lambda id_=id_: _is_completed(scene, id_), 10)  # type: ignore[misc]
        assert _backlog(scene) > 0, "the backlog ended before the measurement did"
    acked = {entry.id: entry.at for entry in scene.ledger.entries("acked")}
    return [acked[id_] - at for id_, at in committed.items()]


def _hold_a_snapshot(reader: Rows) -> None:
    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    reader.execute("SELECT count(*) FROM river_job").fetchone()


def _backlog(scene: Scene) -> int:
    row = scene.connection.execute(
        "SELECT count(*) FROM river_job WHERE state = 'available' AND priority = 4"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _is_completed(scene: Scene, id_: int) -> bool:
    row = scene.connection.execute(
        "SELECT state = 'completed' FROM river_job WHERE id = %s", (id_,)
    ).fetchone()
    return row is not None and bool(row[0])


def main() -> None:
    with Postgres(fsync=False) as server, tempfile.TemporaryDirectory() as directory:
        template = build_template(server)
        name = new_name()
        database = Database(name, server.create_database(name, template), server)
        with Scene(database, Path(directory)) as scene:
            waits = measure(scene, 50)
    within = sum(wait <= AIM for wait in waits)
    print(
        f"{len(waits)} urgent jobs behind a backlog: median {statistics.median(waits) * 1e3:.0f} ms"
        f", at most {max(waits) * 1e3:.0f} ms, {within} within {AIM * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
