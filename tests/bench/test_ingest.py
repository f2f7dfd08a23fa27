"""The benches of the sources, small: every event is read, and every figure given."""

from __future__ import annotations

import json

import pytest

from riverbridge.embedded.sqs import SqsServer
from tests.bench.test_bench import bench
from tests.support.parts import part
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.postgres


def test_a_small_run_against_a_named_kafka_gives_every_figure(real_kafka: RealKafka) -> None:
    servers = real_kafka.bootstrap_servers
    done = bench(
        "ingest", "--bootstrap-servers", servers, "--events", "20000", "--rounds", "1", "--json"
    )
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert list(figures) == ["events_per_s", "insert_ceiling_per_s", "ratio_to_ceiling"]
    assert all(value > 0 for value in figures.values()), figures
    assert f"the Kafka at {servers}" in "\n".join(text)


@pytest.mark.sqs
def test_a_small_run_of_sqs_gives_every_figure() -> None:
    with part("sqs"):
        SqsServer()
    done = bench("ingest-sqs", "--events", "2000", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert list(figures) == ["events_per_s", "server_limit_per_s", "ratio_to_limit"]
    assert all(value > 0 for value in figures.values()), figures
