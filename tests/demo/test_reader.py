"""The reader's reckoning, on sinks that somebody else filled: it must see what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from riverbridge.demo.report import Report, SinkCount
from riverbridge.embedded.broker import Broker
from riverbridge.embedded.sqs import SqsServer
from riverbridge.sql import statement
from tests.support.database import Database, new_name
from tests.support.given import GivenKafka, GivenSqs

ROOT = Path(__file__).parents[2]


def test_it_sees_losses_copies_and_what_was_rolled_back(
    database: Database, kafka: Broker | GivenKafka, sqs: SqsServer | GivenSqs
) -> None:
    with database.connect() as connection:
        connection.execute(statement("demo/create"))
        connection.execute(
            statement("demo/place"), {"customers": ["c1", "c2", "c3"], "cents": [100, 200, 300]}
        )
    topic = new_name()
    kafka.create_topic(topic, 2)
    fill_topic(kafka.bootstrap_servers, topic, ["order-1", "order-1", "order-2", "order-99"])
    url = sqs.create_queue(new_name())
    fill_queue(sqs, url, ["order-1", "order-3", "order-3", "order-3", "unknown"])

    report = read(database.dsn, kafka.bootstrap_servers, topic, sqs.endpoint_url, url)

    assert report == Report(
        kafka=SinkCount(delivered=2, duplicates=1),
        sqs=SinkCount(delivered=2, duplicates=2),
        strangers=2,
        final=True,
        committed=3,
        lost=2,
    )


def fill_topic(servers: str, topic: str, events: list[str]) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    for event in events:
        producer.produce(topic, b"{}", event.encode(), headers=[("ce_id", event.encode())])
    assert producer.flush(20) == 0


def fill_queue(sqs: SqsServer | GivenSqs, url: str, events: list[str]) -> None:
    for event in events:
        sqs.client().send_message(
            QueueUrl=url,
            MessageBody="{}",
            MessageAttributes={"ce_id": {"DataType": "String", "StringValue": event}},
        )


def read(dsn: str, servers: str, topic: str, endpoint: str, url: str) -> Report:
    """What the reader reports in the end, once told that nothing more will come."""
    environment = {
        "DATABASE_URL": dsn,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    arguments = [
        f"--bootstrap-servers={servers}", f"--topic={topic}",
        f"--endpoint-url={endpoint}", f"--queue-url={url}",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "riverbridge.demo.reader", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert msgspec.json.decode(first, type=Report).final is False
            process.send_signal(signal.SIGUSR1)
            rest, _ = process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()
    return msgspec.json.decode(rest.splitlines()[-1], type=Report)
