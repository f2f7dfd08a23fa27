"""Sources in `riverbridge run`: beside routes, and ready or not."""

from __future__ import annotations

import json

from confluent_kafka import Producer

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.process import free_port
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database, new_name
from tests.support.wait import eventually


def source(servers: str, topic: str) -> dict[str, str]:
    return {
        "SOURCES__EVENTS__TYPE": "kafka",
        "SOURCES__EVENTS__BOOTSTRAP_SERVERS": servers,
        "SOURCES__EVENTS__TOPICS": topic,
        "SOURCES__EVENTS__KIND": "{type}",
        "SOURCES__EVENTS__QUEUE": "outbox",
        "SOURCES__EVENTS__CONFIG": '{"session.timeout.ms":1000}',
    }


def test_an_event_goes_through_a_job_to_a_sink(kafka: Broker, tables: Database) -> None:
    topic = new_name("through")
    kafka.create_topic(topic, 1)
    sink = ScriptedSink()
    trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    event = {"specversion": "1.0", "id": "7", "source": "shop", "type": "paid"}
    headers: list[tuple[str, str | bytes | None]] = [*trace.items()]
    headers += [(f"ce_{name}", value) for name, value in event.items()]
    with running_bridge(tables, {"sink": sink}, source(kafka.bootstrap_servers, topic)) as bridge:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for _ in range(2):  # producers that send twice
            producer.produce(topic, b'{"n": 1}', headers=headers)
        assert producer.flush(10) == 0
        eventually(lambda: sink.received, within=20)
        assert bridge.checks()["source-events"] is None
    [(_, message)] = sink.received
    assert json.loads(message.body or b"") == {"n": 1}
    assert dict(message.headers)["ce_type"] == "paid"
    assert trace.items() <= dict(message.headers).items()


def test_a_source_whose_brokers_are_gone_is_not_ready_and_stops_all_the_same(
    tables: Database,
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with running_bridge(tables, {}, source(nowhere, "t")) as bridge:
        eventually(lambda: "Kafka" in (bridge.checks()["source-events"] or ""), within=10)
