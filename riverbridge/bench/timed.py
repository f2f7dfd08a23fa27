"""`riverbridge run` with a sink that notes when each delivery was reported.

`python -m riverbridge.bench.timed FILE` takes the bridge's settings; when it is stopped it writes a
line for each delivered job: its id and the time (time.monotonic, the same clock in every process).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

from riverbridge import logs, service
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.settings import KafkaSink
from riverbridge.sinks.base import Message, Sink

_delivered: list[tuple[str, float]] = []


class Timed:
    """A sink around a sink. The time is that at which `deliver` has every message's report."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        outcomes = self._sink.deliver(messages, deadline)
        now = time.monotonic()
        for message, outcome in zip(messages, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                _delivered.append((message.id.rpartition(":")[2], now))
        return outcomes

    def close(self) -> None:
        self._sink.close()


def _open_timed(opened: Callable[..., Sink]) -> Callable[..., Sink]:
    return lambda *settings: Timed(opened(*settings))


def main(path: Path) -> None:
    """Run until SIGTERM, then write what was delivered to `path`."""
    settings = service.read_settings()
    logs.configure(settings.log.format, settings.log.level)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    # The bridge has no hook for a stopwatch, and needs none.
    with mock.patch.object(KafkaSink, "open", _open_timed(KafkaSink.open)):
        service.run(settings, stop)
    path.write_text("".join(f"{id_} {at!r}\n" for id_, at in _delivered))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
