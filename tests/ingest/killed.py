"""A process that reads a topic, or a slot, and kills or stops itself where it is told to.

python -m tests.ingest.killed '{"servers": …, "point": "written", "nth": 3, "signal": 9}'
python -m tests.ingest.killed '{"url": …, "slot": …, "table": …, "point": …}'
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from datetime import timedelta

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.base import Bounds, Source
from riverbridge.sources.kafka import KafkaSource
from riverbridge.sources.postgres import PostgresSource
from riverbridge.sources.postgres_server import Wanted
from riverbridge.testing.crash import Trap


def source(told: dict[str, str]) -> Source:
    if "slot" not in told:
        return KafkaSource(
            name="events",
            bootstrap_servers=told["servers"],
            topics=[told["topic"]],
            group="killed",
            config={"session.timeout.ms": 1000},
        )
    wanted = Wanted(told["slot"], told["slot"], [told["table"]])
    return PostgresSource(
        name="events", url=told["url"], wanted=wanted, mark_after=1.0, retry_after=1.0
    )


def main() -> None:
    told = json.loads(sys.argv[1])
    trap = Trap(
        told.get("point", "received"),
        nth=told.get("nth", -1),
        action=lambda: os.kill(os.getpid(), told["signal"]),
    )
    receiver = Receiver(
        "events",
        lambda: trap.around(source(told)),
        Intake(
            Mapper("events", Plan(kind="event")),
            Bounds(told.get("count", 100)),
            remember=timedelta(days=7),
        ),
        connect=trap.connect(told["dsn"]),
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop.set).start())
    while not stop.is_set():
        receiver.run(stop)


if __name__ == "__main__":
    main()
