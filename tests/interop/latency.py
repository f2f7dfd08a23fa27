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
from functools import partial
from pathlib import Path

from riverbridge.bench.go_program import build
from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.sinks.base import Message, Sink
from riverbridge.sinks.kafka import KafkaSink
from tests.interop.conftest import SOURCE, River
from tests.support.bridge import job_id, running_bridge
from tests.support.database import Database, build_template, new_name
from tests.support.wait import eventually


class Timed:
    """A sink, with the time.monotonic at which each job came to it and was delivered."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.came: dict[int, float] = {}
        self.delivered: dict[int, float] = {}

    def has(self, ids: set[int]) -> bool:
        return ids <= self.delivered.keys()

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        began = time.monotonic()
        self.came |= {job_id(message): began for message in messages}
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
) -> dict[str, list[float]]:
    """Seconds for each job, smallest first: from insert to delivery, and its two parts."""
    topic = new_name("latency")
    broker.create_topic(topic)
    sink = Timed(KafkaSink(bootstrap_servers=broker.bootstrap_servers))
    with running_bridge(database, {"events": sink}, {"SINKS__EVENTS__TOPIC": topic}):
        for span in (1, seconds):  # the first warms up connections, plans and caches
            inserted = river("flood", "outbox", rate, span, within=span * 2 + 30)
            eventually(partial(sink.has, {job["id"] for job in inserted}), within=20)
    return {
        "insert to delivery": sorted(sink.delivered[job["id"]] - job["at"] for job in inserted),
        "until the sink has it": sorted(sink.came[job["id"]] - job["at"] for job in inserted),
        "in the sink": sorted(sink.delivered[job["id"]] - sink.came[job["id"]] for job in inserted),
    }


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
        river = River(build(Path(scratch) / "bridge", SOURCE), database)
        measured = measure(river, database, broker, chosen.rate, chosen.seconds)
    print(f"Go inserts {chosen.rate} jobs/s for {chosen.seconds} s; milliseconds")
    for what, took in measured.items():
        shown = {f"p{p:g}": percentile(took, p) for p in (50, 90, 99, 99.9)} | {"max": took[-1]}
        figures = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in shown.items())
        print(f"{what:22} {figures}")


if __name__ == "__main__":
    main()
