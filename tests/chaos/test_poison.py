"""A job whose delivery kills the process, among many that are well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chaos.processes import Scene
from tests.support.wait import eventually

GOOD = 5000


class Supervisor:
    """Keeps one replica running, as a container runtime would: started again when it has died."""

    def __init__(self, scene: Scene, name: str, **script: Any) -> None:
        self._scene = scene
        self._name = name
        self._script = script
        self._stop = threading.Event()
        self.deaths = 0
        self._thread = threading.Thread(target=self._keep, name=f"supervisor-{name}")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _keep(self) -> None:
        while not self._stop.is_set():
            with self._scene.process(self._name, **self._script) as process:
                while process.running and not self._stop.wait(0.02):
                    pass
                if not self._stop.is_set():
                    self.deaths += 1
            self._stop.wait(0.5)


@contextmanager
def _replicas(scene: Scene, **script: Any) -> Iterator[list[Supervisor]]:
    replicas = [Supervisor(scene, name, **script) for name in ("one", "two")]
    try:
        yield replicas
    finally:
        for replica in replicas:
            replica.stop()


@pytest.mark.timeout(240)
def test_a_job_that_kills_the_process_is_discarded_and_the_others_arrive(
    scene: Scene,
) -> None:
    before = scene.insert(GOOD // 2, max_attempts=3)
    (bad,) = scene.insert(1, max_attempts=3)
    good = before + scene.insert(GOOD // 2, max_attempts=3)
    began = time.monotonic()
    with _replicas(scene, kill_on=[bad]) as replicas:
        eventually(lambda: scene.states().get("completed") == GOOD, 180)
        good_after = time.monotonic() - began
        eventually(
            lambda: scene.states() == {"completed": GOOD, "discarded": 1},
            180 - good_after,
            every=0.1,
        )
    seconds = time.monotonic() - began
    deaths = sum(replica.deaths for replica in replicas)
    print(f"good ones after {good_after:.1f} s, all after {seconds:.1f} s, {deaths} deaths")
    assert set(scene.ledger.counts()) == set(good)
    row = scene.connection.execute(
        "SELECT attempt, errors FROM river_job WHERE id = %s", (bad,)
    ).fetchone()
    assert row is not None
    attempt, errors = row
    assert (attempt, [error["attempt"] for error in errors]) == (3, [1, 2, 3])
    assert all("died with this job in delivery" in error["error"] for error in errors)
