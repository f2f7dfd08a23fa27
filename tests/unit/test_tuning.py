"""What `riverbridge run` sets for its process before it starts threads."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from riverbridge.service import running
from riverbridge.service.process import SWITCH_INTERVAL, TRACKED


@pytest.fixture
def restored() -> Iterator[None]:
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("restored")
def test_lanes_of_a_bridge_do_not_wait_five_milliseconds_for_a_sink_that_renders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[float, int]] = []

    class Fake:
        def __init__(self, *_: Any) -> None: ...

        def start(self) -> None:
            found.append((sys.getswitchinterval(), gc.get_threshold()[0]))

        def stop(self) -> None: ...

    monkeypatch.setattr(running, "Bridge", Fake)
    monkeypatch.setattr(running, "serve_metrics", lambda: None)
    stop = threading.Event()
    stop.set()
    settings: Any = None
    running.run(settings, stop)
    [(interval, threshold)] = found
    assert interval == pytest.approx(SWITCH_INTERVAL)
    assert threshold == TRACKED
