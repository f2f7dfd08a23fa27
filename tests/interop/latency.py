"""How long after River's Go client has inserted a job it is delivered, while Go inserts steadily.

    python -m tests.interop.latency [--rate 200] [--seconds 30]

A whole bridge in this process delivers to Tansu. The clock starts when Go's Insert has returned and
stops when the sink has given the batch its outcomes: both are CLOCK_MONOTONIC of this machine. Go
announces a queue at most once per 100 ms, so most jobs are found by the looks that follow.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.sinks.base import Message, Sink
from riverbridge.sinks.kafka import KafkaSink
from tests.interop.conftest import River, build
from tests.support.bridge import job_id, running_bridge
from tests.support.database import Database, build_template, new_name
from tests.support.wait import eventually


class Timed:
    """A sink, with the time.monotonic at which each job was delivered."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.delivered: dict[int, float] = {}

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        outcomes = self._sink.deliver(messages, deadline)
        now = time.monotonic()
        for message, outcome in zip(messages, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                self.delivered.setdefault(job_id(message), now)
        return outcomes

    def close(self) -> None:
        self._sink.close()


def measure(
    river: River, database: Database, broker: Broker, rate: int, seconds: int
) -> list[float]:
    """Seconds from insert to delivery, one for each job, smallest first."""
    topic = new_name("latency")
    broker.create_topic(topic)
    sink = Timed(KafkaSink(bootstrap_servers=broker.bootstrap_servers))
    with running_bridge(database, {"events": sink}, {"SINKS__EVENTS__TOPIC": topic}):
        river("flood", "outbox", rate, 1)  # connections, plans and caches
        sink.delivered.clear()
        inserted = river("flood", "outbox", rate, seconds, within=seconds * 2 + 30)
        eventually(lambda: len(sink.delivered) >= len(inserted), within=20)
    return sorted(sink.delivered[job["id"]] - job["at"] for job in inserted)


def percentile(ordered: Sequence[float], percent: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=200, help="jobs a second")
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Postgres() as server, Broker() as broker:
        name = new_name("latency")
        database = Database(name, server.create_database(name, build_template(server)), server)
        river = River(build(Path(scratch) / "bridge"), database)
        took = measure(river, database, broker, chosen.rate, chosen.seconds)
    shown = {f"p{p:g}": percentile(took, p) for p in (50, 90, 99, 99.9)} | {"max": took[-1]}
    print(f"{len(took)} jobs at {chosen.rate}/s: ", end="")
    print(", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in shown.items()))


if __name__ == "__main__":
    main()
