"""Where job functions run, for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from riverbridge.worker.runtime import Runtime
from riverbridge.worker.watch import StuckJob

STUCK_AFTER = 0.05


@pytest.fixture
def stuck() -> list[StuckJob]:
    """The jobs that were stuck."""
    return []


@pytest.fixture
def runtime(stuck: list[StuckJob]) -> Iterator[Runtime]:
    """Running; a job is stuck 50 ms after its timeout, and its slot is free then."""

    def keep(job: StuckJob) -> bool:
        stuck.append(job)
        return True

    runtime = Runtime(stuck_after=STUCK_AFTER, on_stuck=keep)
    runtime.start()
    yield runtime
    assert runtime.stop(5.0), "the event loop did not end"
