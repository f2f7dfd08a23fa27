"""Kafka records in a registry's format, read back with Confluent's own deserializers."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message as Record
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from riverbridge.embedded.broker import Broker
from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent, Unreachable
from riverbridge.service.wiring import open_sinks
from riverbridge.sinks.base import Message, Sink
from riverbridge.sinks.packed import ALL, PackedSink
from riverbridge.sinks.schemas import Schemas
from tests.support.bridge import ScriptedSink
from tests.support.database import new_name
from tests.support.given import GivenKafka
from tests.support.real_registry import RealRegistry
from tests.support.records import header, read_until
from tests.support.registry import Registry
from tests.unit.settings_cases import CANARY, refused
from tests.unit.settings_cases import read as settings

AVRO = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "note", "type": ["null", "string"], "default": None},
        ],
    }
)
JSON = json.dumps(
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "price": {"type": "number"}},
        "required": ["id"],
    }
)
PROTO = 'syntax = "proto3"; message Order { int64 id = 1; string note = 2; }'
S = "RIVERBRIDGE_SINKS__OUT__"


def proto_file() -> Any:
    file: Any = descriptor_pb2.FileDescriptorProto(name="order.proto", syntax="proto3")
    message = file.message_type.add(name="Order")
    message.field.add(name="id", number=1, type=3, label=1)
    message.field.add(name="note", number=2, type=9, label=1)
    return file


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as made:
        yield made


Either = Registry | RealRegistry


@pytest.fixture(params=["stub", pytest.param("apicurio", marks=pytest.mark.registry)])
def either(request: pytest.FixtureRequest) -> Either:
    """What answers and refuses on command, and a registry as others made it."""
    name = "registry" if request.param == "stub" else "real_registry"
    found: Either = request.getfixturevalue(name)
    return found


@pytest.fixture
def schemas(registry: Registry) -> Iterator[Callable[..., Schemas]]:
    opened: list[Schemas] = []

    def make(type: Any = "avro", **more: Any) -> Schemas:
        opened.append(Schemas(type, **({"url": registry.url} | more)))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def packed(made: Schemas, *bodies: bytes, topic: str = "orders") -> list[Message | Outcome]:
    return made.pack([Message("1", body, topic) for body in bodies], time.monotonic() + 5)


@pytest.mark.parametrize("type", ["avro", "json", "protobuf"])
def test_confluents_deserializer_reads_the_record(
    kafka: Broker | GivenKafka, either: Either, type: str
) -> None:
    topic = new_name("schemas")
    kafka.create_topic(topic)
    serialized = base64.b64encode(proto_file().SerializeToString()).decode()
    text = {"avro": AVRO, "json": JSON, "protobuf": PROTO}[type]
    either.register(new_name("other"), "AVRO", '"string"')
    id_ = either.register(
        f"{topic}-value", type.upper(), text, serialized if type == "protobuf" else ""
    )
    if isinstance(either, Registry):
        either.user = "bridge:hush"
    env = {
        S + "TYPE": "kafka",
        S + "BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        S + "TOPIC": topic,
        S + "REGISTRY__URL": either.url,
        S + "REGISTRY__TYPE": type,
        S + "REGISTRY__USERNAME": "bridge",
        S + "REGISTRY__PASSWORD": "hush",
    }
    sink = open_sinks(settings(env))["out"].sink
    body = b'{"id": 9007199254740993, "price": 1.10}' if type == "json" else b'{"id": 7}'
    sent = [
        Message("1", body, topic, headers=(("content-type", "application/json"),)),
        Message("2", b'{"id": "seven"}', topic),
        Message("3", None, topic, key="gone"),
    ]
    good, bad, tombstone = sink.deliver(sent, time.monotonic() + 10)
    sink.close()
    assert (good, tombstone) == (Delivered(), Delivered())
    assert isinstance(bad, Permanent)
    assert bad.error.startswith(f"not as the schema of {topic}-value wants it: ")
    found = read_until(kafka.bootstrap_servers, topic, lambda got: len(got) >= 2)
    value = found[0].value() or b""
    assert found[1].value() is None
    assert value[:5] == b"\0" + id_.to_bytes(4, "big")
    given = {"url": either.url, "basic.auth.user.info": "bridge:hush", "max.retries": 0}
    with SchemaRegistryClient(given) as client:
        check(type, client, found[0], body)


def check(type: str, client: SchemaRegistryClient, record: Record, body: bytes) -> None:
    """Read the record as a consumer would."""
    value = record.value() or b""
    context = SerializationContext(record.topic() or "", MessageField.VALUE)
    if type == "avro":
        assert AvroDeserializer(client)(value, context) == {"id": 7, "note": None}
        assert header(record, "content-type") == "application/avro"
    elif type == "json":
        assert JSONDeserializer(None, schema_registry_client=client)(value, context) == json.loads(
            body
        )
        assert value[5:] == body
        assert header(record, "content-type") == "application/json"
    else:
        pool = descriptor_pool.DescriptorPool()
        pool.Add(proto_file())
        kind: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("Order"))
        read: Any = ProtobufDeserializer(kind, {"use.deprecated.format": False})(value, context)
        assert (read.id, read.note) == (7, "")
        assert header(record, "content-type") == "application/protobuf"


@pytest.mark.parametrize(
    "body",
    [b'{"id": 7, "more": 1}', b'{"note": "x"}', b'{"id": 9223372036854775808}', b"[]", b"{"],
)
def test_what_the_schema_does_not_want_is_refused_for_good(
    either: Either, schemas: Callable[..., Schemas], body: bytes
) -> None:
    topic = new_name("schemas")
    either.register(f"{topic}-value", "AVRO", AVRO)
    made = schemas(url=either.url)
    before, refused_one, after = packed(made, b'{"id": 1}', body, b'{"id": 2}', topic=topic)
    assert isinstance(refused_one, Permanent)
    assert refused_one.error.startswith(f"not as the schema of {topic}-value wants it: ")
    assert isinstance(before, Message)
    assert isinstance(after, Message)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, Misconfigured),
        (403, Misconfigured),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
def test_what_the_registry_refuses(
    registry: Registry, schemas: Callable[..., Schemas], status: int, outcome: type[Outcome]
) -> None:
    registry.register("orders-value", "AVRO", AVRO)
    registry.status = status
    made = schemas()
    first, second = packed(made, b'{"id": 1}', b'{"id": 2}')
    assert isinstance(first, outcome)
    assert str(status) in first.error  # type: ignore[union-attr]
    assert second == first
    assert len(registry.requests) == 1
    registry.status = None
    assert isinstance(packed(made, b'{"id": 1}')[0], Message)


def test_a_subject_that_is_not_there_stops_the_sink(
    either: Either, schemas: Callable[..., Schemas]
) -> None:
    [outcome] = packed(schemas(url=either.url), b'{"id": 1}', topic="nowhere")
    assert isinstance(outcome, Misconfigured)
    assert re.search("refused subject nowhere-value: 404 .*nowhere-value.* found", outcome.error)
    [other] = packed(schemas(url=either.url, subject="all"), b'{"id": 1}')
    assert isinstance(other, Misconfigured)
    assert "refused subject all: " in other.error


def test_a_registry_that_gives_protobuf_as_text_is_misconfigured(
    either: Either, schemas: Callable[..., Schemas]
) -> None:
    """It does not know `format=serialized`, as some that have Confluent's API do not."""
    topic = new_name("schemas")
    either.register(f"{topic}-value", "PROTOBUF", PROTO)
    [outcome] = packed(schemas("protobuf", url=either.url), b'{"id": 1}', topic=topic)
    assert isinstance(outcome, Misconfigured)
    assert f"gives {topic}-value as text" in outcome.error


def test_a_registry_that_is_down_spends_no_attempt(
    registry: Registry, schemas: Callable[..., Schemas]
) -> None:
    with Registry() as gone:
        made = schemas(url=gone.url)
    inner = ScriptedSink()
    sink: Sink = PackedSink(inner, ALL, made.pack)
    sent = [Message("1", b'{"id": 1}', "orders"), Message("2", None, "orders")]
    began = time.monotonic()
    down, tombstone = sink.deliver(sent, began + 5)
    assert isinstance(down, Unreachable)
    assert "the schema registry does not answer" in down.error
    assert tombstone == Delivered()
    assert time.monotonic() - began < 2


def test_a_registry_that_hangs_spends_no_attempt(
    real_registry: RealRegistry, schemas: Callable[..., Schemas]
) -> None:
    topic = new_name("schemas")
    real_registry.register(f"{topic}-value", "AVRO", AVRO)
    made = schemas(url=real_registry.url, timeout=0.5)
    real_registry.pause()
    try:
        [hung] = packed(made, b'{"id": 1}', topic=topic)
    finally:
        real_registry.resume()
    assert isinstance(hung, Unreachable)
    assert "the schema registry does not answer" in hung.error
    [message] = packed(schemas(url=real_registry.url), b'{"id": 1}', topic=topic)
    assert isinstance(message, Message)


def test_a_schema_of_ones_own_must_be_registered_or_is(
    either: Either, schemas: Callable[..., Schemas]
) -> None:
    topic = new_name("schemas")
    either.register(f"{topic}-value", "AVRO", '"string"')
    given = {"url": either.url, "schema": AVRO}
    [unknown] = packed(schemas(**given), b'{"id": 1}', topic=topic)
    assert isinstance(unknown, Misconfigured)
    assert f"refused subject {topic}-value: 404 " in unknown.error
    [made] = packed(schemas(**given, auto_register=True), b'{"id": 1}', topic=topic)
    assert isinstance(made, Message)
    with SchemaRegistryClient({"url": either.url}) as client:
        assert client.get_latest_version(f"{topic}-value").version == 2
    [known] = packed(schemas(**given), b'{"id": 1}', topic=topic)
    assert known == made


def test_a_schema_that_is_none_is_refused_at_the_start(
    registry: Registry, schemas: Callable[..., Schemas]
) -> None:
    with pytest.raises(ConfigurationError, match="schema: cannot be used"):
        schemas(schema='{"type": "nothing"}')


KAFKA = {S + "TYPE": "kafka", S + "BOOTSTRAP_SERVERS": "b:9092", S + "TOPIC": "t"}
URL = {S + "REGISTRY__URL": "https://registry"}


@pytest.mark.parametrize(
    ("env", "name", "text"),
    [
        ({S + "REGISTRY__TYPE": "json"}, "TYPE", "has no effect without URL"),
        (URL | {S + "ENVELOPE": "cloudevents-structured"}, "URL", "is for args"),
        (URL | {S + "REGISTRY__AUTO_REGISTER": "true"}, "AUTO_REGISTER", "needs FILE"),
        (URL | {S + "REGISTRY__PASSWORD": CANARY}, "USERNAME", "and PASSWORD go together"),
        (
            URL | {S + "REGISTRY__FILE": "/x", S + "REGISTRY__TYPE": "protobuf"},
            "FILE",
            "is for avro and json",
        ),
        ({S + "REGISTRY__URL": "http://registry"}, "URL", "unencrypted"),
    ],
)
def test_settings_that_cannot_work(env: dict[str, str], name: str, text: str) -> None:
    (problem,) = refused(KAFKA | env)
    assert problem.startswith(f"{S}REGISTRY__{name}: ")
    assert text in problem
    assert CANARY not in problem


def test_a_file_is_read_when_the_sink_is_opened(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "order.avsc"
    env = KAFKA | {S + "REGISTRY__URL": registry.url, S + "REGISTRY__FILE": str(file)}
    with pytest.raises(ConfigurationError, match=r"order\.avsc cannot be read"):
        open_sinks(settings(env))
    file.write_text(AVRO)
    open_sinks(settings(env))["out"].sink.close()
