"""`riverbridge bench ingest-sqs`: an SQS source beside what its server gives.

In each round `riverbridge run` reads a queue, and as many receivers of the same kind read another
one like it, delete what they got and make nothing of it. Ratios are taken within a round.
"""

from __future__ import annotations

import os
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from botocore.credentials import Credentials

from riverbridge.bench.ground import KIND, BenchFailed, Ground, connect
from riverbridge.bench.ingest import body
from riverbridge.bench.report import conditions, spread
from riverbridge.bench.service import PYTHONPATH, RUN, running
from riverbridge.embedded.process import free_port, plain_environment
from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.sinks.sqs import queue_access
from riverbridge.sources.sqs_calls import MOST, QueueCalls

RECEIVERS = 4
KEYS = ("bench", "bench")
PATIENCE = 120.0
"""Seconds that reading one queue may take."""


@dataclass
class Measured:
    """Events per second, a value per round."""

    events: int
    server: Mapping[str, str]
    indexes: Sequence[str]
    load: tuple[float, float, float]
    queue: str
    rates: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """The source over what the server gives, within each round."""
        return [mine / given for mine, given in zip(self.rates, self.limits, strict=True)]

    def figures(self) -> dict[str, float]:
        """What `--json` prints: medians of the rounds."""
        return {
            "events_per_s": round(statistics.median(self.rates)),
            "server_limit_per_s": round(statistics.median(self.limits)),
            "ratio_to_limit": round(statistics.median(self.ratios()), 3),
        }


def steps(rounds: int) -> int:
    """How often `measure` reports progress."""
    return 2 * rounds


def measure(*, events: int, rounds: int, progress: Callable[[str], None]) -> Measured:
    """Run everything. Raises PartMissing, ServerFailed and BenchFailed."""
    with ExitStack() as stack:
        ground, server = Ground(), SqsServer()
        stack.enter_context(ground)
        stack.enter_context(server)
        said = f"{server.flavour} {server.version}"
        found = Measured(events, ground.settings(), ground.indexes(), os.getloadavg(), said)
        for number in range(rounds):
            runs = [
                ("the source", found.rates, partial(_read, ground, server, events)),
                ("the server", found.limits, partial(_given, server, events)),
            ]
            for what, rates, run in runs[:: -1 if number % 2 else 1]:
                progress(f"round {number + 1} of {rounds}: {what}")
                with _queue(server, events) as url:
                    rates.append(run(url))
    return found


def text(measured: Measured) -> str:
    """A few lines, for people."""
    rounds = len(measured.rates)
    return "\n".join(
        [
            *conditions(
                measured.server, measured.indexes, measured.load, "server, source and queue"
            ),
            f"{measured.queue}, {RECEIVERS} receivers",
            "",
            f"{measured.events:,} events of 260 bytes: median of {rounds} rounds [range]",
            f"  the source, to the last commit    {spread(measured.rates, 9, ',.0f')} events/s",
            f"  what the server gives             {spread(measured.limits, 9, ',.0f')} events/s",
            f"  ratio                             {spread(measured.ratios(), 9, '.2f')}",
        ]
    )


@contextmanager
def _queue(server: SqsServer, events: int) -> Iterator[str]:
    """A queue of its own with that many events."""
    url = server.create_queue(f"bench-{secrets.token_hex(4)}")
    _send(server, url, events)
    yield url
    server.client().delete_queue(QueueUrl=url)


def _send(server: SqsServer, url: str, events: int) -> None:
    for first in range(0, events, MOST):
        entries = [
            {"Id": str(number), "MessageBody": body(number).decode()}
            for number in range(first, min(events, first + MOST))
        ]
        if server.client().send_message_batch(QueueUrl=url, Entries=entries).get("Failed"):  # type: ignore[arg-type]
            raise BenchFailed("the SQS server did not take all events")


def _read(ground: Ground, server: SqsServer, events: int, url: str) -> float:
    """From the first commit to the last."""
    with ground.database(0) as dsn, connect(dsn) as watch:
        env = plain_environment(
            PYTHONPATH=PYTHONPATH,
            DATABASE_URL=dsn,
            AWS_ACCESS_KEY_ID=KEYS[0],
            AWS_SECRET_ACCESS_KEY=KEYS[1],
            AWS_DEFAULT_REGION=REGION,
            AWS_EC2_METADATA_DISABLED="true",
            RIVERBRIDGE_SOURCES__BENCH__TYPE="sqs",
            RIVERBRIDGE_SOURCES__BENCH__QUEUE_URL=url,
            RIVERBRIDGE_SOURCES__BENCH__ENDPOINT_URL=server.endpoint_url,
            RIVERBRIDGE_SOURCES__BENCH__RECEIVERS=str(RECEIVERS),
            RIVERBRIDGE_SOURCES__BENCH__KIND=KIND,
            RIVERBRIDGE_PROBES__PORT=str(free_port()),
        )

        def jobs() -> int:
            row = watch.execute("SELECT count(*) FROM river_job").fetchone()
            return int(row[0]) if row else 0

        with running(RUN, env, lambda: jobs() > 0):
            began, first = time.monotonic(), jobs()
            while (now := jobs()) < events:
                if time.monotonic() > began + PATIENCE:
                    raise BenchFailed(f"only {now} of {events} events were read in time")
                time.sleep(0.005)
            seconds = time.monotonic() - began
    return (events - first) / seconds


def _given(server: SqsServer, events: int, url: str) -> float:
    """What as many receivers get and delete."""
    access = queue_access(url, REGION, server.endpoint_url, Credentials(*KEYS))
    calls, turn = QueueCalls(url, access), threading.Lock()
    left, until = events, time.monotonic() + PATIENCE

    def receive() -> None:
        nonlocal left
        connection = access.connection()
        try:
            while left > 0:
                if time.monotonic() > until:
                    raise BenchFailed(f"{left} of {events} events were not received in time")
                found = calls.receive(connection, wait=0, hidden=60)
                if found:
                    calls.delete(connection, [message.receipt_handle for message in found])
                    with turn:
                        left -= len(found)
        finally:
            connection.close()

    began = time.monotonic()
    with ThreadPoolExecutor(RECEIVERS) as pool:
        for done in [pool.submit(receive) for _ in range(RECEIVERS)]:
            done.result()
    return events / (time.monotonic() - began)
