"""The long proof of Kafka transactions: replicas are killed all the time, and a reader of committed
records finds each job exactly once.

`make test-exactly`; the environment's EXACTLY_JOBS and EXACTLY_KILLS shorten it.
"""

from __future__ import annotations

import collections
import os
import random
import re
import statistics
import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.support.bridge import BridgeProcess
from tests.support.database import Database, new_name
from tests.support.real_kafka import RealKafka
from tests.support.wait import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

JOBS = int(os.environ.get("EXACTLY_JOBS", "50000"))
KILLS = int(os.environ.get("EXACTLY_KILLS", "20"))
FROZEN = 20.0
PARTITIONS = 4
ROUNDS, ROUND = 4, 10_000

Rows = psycopg.Connection[tuple[Any, ...]]


def environment(
    kafka: RealKafka, topic: str, queue: str, *, transactions: bool = True, **more: str
) -> dict[str, str]:
    return {
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "SINKS__EVENTS__TOPIC": topic,
        "SINKS__EVENTS__TRANSACTIONS": str(transactions).lower(),
        "ROUTES__ALL__QUEUES": queue,
        "LANES": "2",
    } | more


def insert(connection: Rows, queue: str, count: int) -> None:
    connection.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args)"
        " SELECT 'test', %s, 25, jsonb_build_object('n', n) FROM generate_series(1, %s) AS n",
        (queue, count),
    )


def completed(connection: Rows, queue: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM river_job WHERE state = 'completed' AND queue = %s", (queue,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def at_work(connection: Rows) -> str | None:
    """The name of a replica that has a batch out in its present life."""
    row = connection.execute(
        """
        SELECT split_part(process.id, '_', 2)
        FROM river_job AS job
        JOIN (
            SELECT DISTINCT ON (split_part(id, '_', 2)) id FROM riverbridge_process
            ORDER BY split_part(id, '_', 2), started_at DESC
        ) AS process ON process.id = job.attempted_by[array_length(job.attempted_by, 1)]
        WHERE job.state = 'running' ORDER BY random() LIMIT 1
        """
    ).fetchone()
    return None if row is None else str(row[0])


def committed(kafka: RealKafka, topic: str) -> collections.Counter[int]:
    """How often a reader of committed records finds each job, up to the topic's end."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "proof",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: collections.Counter[int] = collections.Counter()
    try:
        consumer.assign([TopicPartition(topic, place, 0) for place in range(PARTITIONS)])
        ends, until = 0, time.monotonic() + 60
        while ends < PARTITIONS:
            assert time.monotonic() < until
            for one in consumer.consume(1000, timeout=0.5):
                if one.error() is None:
                    id_ = dict(one.headers() or [])["ce_id"]
                    assert isinstance(id_, bytes)
                    found[int(id_.decode().rpartition(":")[2])] += 1
                else:
                    ends += 1
        return found
    finally:
        consumer.close()


def test_each_job_comes_exactly_once_through_kills_and_a_freeze(
    database: Database, real_kafka: RealKafka
) -> None:
    topic, chance = new_name("proof"), random.Random(7)
    real_kafka.create_topic(topic, PARTITIONS)
    env = environment(real_kafka, topic, "outbox", BATCH_SIZE="100")
    with ExitStack() as stack:
        connection = stack.enter_context(database.connect())
        replicas = {
            name: stack.enter_context(BridgeProcess(database, env | {"NAME": name}))
            for name in ("one", "two")
        }
        began = time.monotonic()
        rounds = KILLS + 1
        for number in range(rounds):
            insert(connection, "outbox", JOBS * (number + 1) // rounds - JOBS * number // rounds)
            time.sleep(chance.random() * 0.3)  # anywhere in a batch
            name = eventually(lambda: at_work(connection), 120, every=0.002)
            assert name is not None
            victim = replicas[name]
            if number == KILLS // 2:
                victim.pause()
                time.sleep(FROZEN)  # longer than a process may be silent: another takes over
                victim.resume()
            else:
                victim.kill()
                victim.start()
        eventually(lambda: completed(connection, "outbox") == JOBS, 180, every=0.1)
        took = time.monotonic() - began
        for replica in replicas.values():
            replica.stop()
        attempts = connection.execute(
            "SELECT attempt, count(*) FROM river_job GROUP BY 1 ORDER BY 1"
        ).fetchall()
        logs = "".join(replica.log for replica in replicas.values())
    counts = committed(real_kafka, topic)
    twice = [id_ for id_, count in counts.items() if count > 1]
    told = re.findall(r": (\d+) of its jobs had arrived, (\d+) had not", logs)
    arrived, lost = (sum(int(one[place]) for one in told) for place in (0, 1))
    print(
        f"{JOBS} jobs, {KILLS} kills and a freeze of {FROZEN:.0f} s in {took:.0f} s: "
        f"{len(counts)} arrived, {len(twice)} twice; Kafka was asked for {len(told)} batches, of "
        f"which {arrived} jobs had arrived and {lost} had not; attempts: {dict(attempts)}"
    )
    assert twice == []
    assert len(counts) == JOBS
    assert told
    assert "has forgotten" not in logs


def test_what_transactions_cost(database: Database, real_kafka: RealKafka) -> None:
    """Printed, not judged: the same jobs with and without, by turns."""
    took: dict[bool, list[float]] = {True: [], False: []}
    topic = new_name("cost")
    real_kafka.create_topic(topic, PARTITIONS)
    with database.connect() as connection:
        for number in range(2 * ROUNDS):
            transactions, queue = number % 2 == 0, f"round-{number}"
            env = environment(real_kafka, topic, queue, transactions=transactions)
            with BridgeProcess(database, env):
                insert(connection, queue, 100)
                eventually(lambda: completed(connection, queue) == 100, 30)  # noqa: B023
                began = time.monotonic()
                insert(connection, queue, ROUND)
                eventually(lambda: completed(connection, queue) == ROUND + 100, 60)  # noqa: B023
                took[transactions].append(time.monotonic() - began)
    rates = {on: ROUND / statistics.median(seconds) for on, seconds in took.items()}
    print(
        f"jobs/s, median of {ROUNDS}: {rates[True]:.0f} with transactions, {rates[False]:.0f} "
        f"without: {rates[True] / rates[False]:.2f}"
    )
