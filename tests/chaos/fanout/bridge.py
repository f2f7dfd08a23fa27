"""`riverbridge run` with sinks of which the third does as a file says.

`python -m tests.chaos.fanout.bridge SWITCH LEDGER`: SWITCH holds `well`, `down`, `slow` or
`refusing`. When it is stopped it writes to LEDGER, for each acknowledgement, the sink, the job and
the time (time.monotonic, the same clock in every process).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from riverbridge import logs, service
from riverbridge.model.outcome import Delivered, Outcome, Retry, Unreachable
from riverbridge.settings import KafkaSink
from riverbridge.sinks.base import Message

THIRD = "third"

ANSWER = 0.003
"""Seconds a sink that is well takes for a batch."""

SLOW = 5.0
"""Seconds the third takes while it is slow."""


class Switched:
    """Acknowledges everything, unless it is the third and its switch says otherwise."""

    def __init__(self, name: str, switch: Path) -> None:
        self._switch = switch if name == THIRD else None
        self.acked: list[tuple[float, Sequence[Message]]] = []

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        mode = self._switch.read_text() if self._switch else "well"
        if mode == "down":
            return [Unreachable("down")] * len(messages)
        time.sleep(SLOW if mode == "slow" else ANSWER)
        if mode == "refusing":
            self.acked.append((time.monotonic(), messages[::2]))
            return [Retry("no") if place % 2 else Delivered() for place in range(len(messages))]
        self.acked.append((time.monotonic(), messages))
        return [Delivered()] * len(messages)

    def close(self) -> None:
        """Nothing is open."""


def main(switch: Path, ledger: Path) -> None:
    """Run until SIGTERM, then write the ledger."""
    sinks: dict[str, Switched] = {}

    def opened(_settings: KafkaSink, name: str, _receipts: bool) -> Switched:
        return sinks.setdefault(name, Switched(name, switch))

    settings = service.read_settings()
    logs.configure(settings.log.format, settings.log.level)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    with mock.patch.object(KafkaSink, "open", opened):
        service.run(settings, stop)
    with ledger.open("w") as file:
        for name, sink in sinks.items():
            for at, messages in sink.acked:
                for message in messages:
                    file.write(f"{name} {message.id.rpartition(':')[2]} {at!r}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
