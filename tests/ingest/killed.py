"""A process that reads a topic, a queue or a slot into Postgres, and kills or stops itself where it
is told to.

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
from typing import Any

from botocore.credentials import Credentials

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.base import Bounds, Source
from riverbridge.sources.kafka import KafkaSource
from riverbridge.sources.postgres import PostgresSource
from riverbridge.sources.postgres_server import Wanted
from riverbridge.sources.sqs import SqsSource
from riverbridge.testing.crash import Trap


def opened(told: dict[str, Any]) -> Source:
    if "queue_url" in told:
        return SqsSource(
            name="events",
            queue_url=told["queue_url"],
            endpoint_url=told["endpoint_url"],
            region="us-east-1",
            credentials=Credentials("test", "test"),
            wait=1,
            hidden=told["hidden"],
        )
    if "slot" in told:
        wanted = Wanted(told["slot"], told["slot"], [told["table"]])
        return PostgresSource(
            name="events", url=told["url"], wanted=wanted, mark_after=1.0, retry_after=1.0
        )
    return KafkaSource(
        name="events",
        bootstrap_servers=told["servers"],
        topics=[told["topic"]],
        group="killed",
        config={"session.timeout.ms": 1000},
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
        lambda: trap.around(opened(told)),
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
