"""Bodies in the format of a schema registry: checked against a schema, and framed with its id."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Misconfigured, Outcome, Permanent, Unreachable
from riverbridge.model.text import said
from riverbridge.sinks.base import Message

SchemaType = Literal["avro", "json", "protobuf"]
Serialize = Callable[[Any, SerializationContext], bytes | None]

LATEST = 60
"""Seconds for which a subject's latest schema is taken for that."""
FRAME = 5
"""Bytes before the body: a zero and the schema's id (Confluent's wire format)."""
CONTENT_TYPES = {"avro": "application/avro", "protobuf": "application/protobuf"}
"""What becomes of the content type `application/json`."""


class _AsText(Exception):
    """The registry does not know `format=serialized`, and gives Protobuf's own language."""


class Schemas:
    """Packs messages for one sink (`riverbridge.sinks.packed.Pack`). Safe for several threads.

    url: of the registry. subject: where `{topic}` stands for the message's destination. Its latest
    schema is used, unless `schema` is the text of one: then that one, which must be registered or,
    with `auto_register`, is. user: `name:password`. ca_file: PEM authorities to trust.
    timeout: seconds a question to the registry may take.

    A body that is not as the schema wants it is `Permanent`. What the registry refuses, such as a
    subject it does not have, is `Misconfigured`; one that does not answer is `Unreachable`.

    Raises ConfigurationError for values that cannot work; nothing is sent.
    """

    def __init__(
        self,
        type: SchemaType,
        *,
        url: str,
        subject: str = "{topic}-value",
        schema: str | None = None,
        auto_register: bool = False,
        user: str | None = None,
        ca_file: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        given: dict[str, Any] = {
            "url": url,
            "timeout": timeout,
            # A job that failed comes again by itself.
            "max.retries": 0,
            "cache.latest.ttl.sec": LATEST,
        }
        if user is not None:
            given["basic.auth.user.info"] = user
        if ca_file is not None:
            given["ssl.ca.location"] = ca_file
        self._type = type
        self._subject = subject
        self._conf: dict[str, Any] = {
            "auto.register.schemas": auto_register,
            "use.latest.version": schema is None,
            "subject.name.strategy": lambda context, _: self._subject_of(context.topic),
        }
        try:
            self._registry = SchemaRegistryClient(given)
            self._serialize = self._serializer(schema)
        except Exception as error:  # whatever the parser of the format raises
            raise ConfigurationError(f"schema: cannot be used: {said_of(error)}") from None
        self._classes: dict[int | None, Any] = {}

    def pack(self, messages: Sequence[Message], deadline: float) -> list[Message | Outcome]:
        """Each message with its body in the registry's format, or why it has none."""
        made: list[Message | Outcome] = []
        # One question is enough for all that go the same way.
        failed: dict[str, Outcome] = {}
        for message in messages:
            topic = message.destination
            got = failed.get(topic) or self._one(message)
            if isinstance(got, Unreachable | Misconfigured):
                failed[topic] = got
            made.append(got)
        return made

    def close(self) -> None:
        """Close the connections to the registry."""
        self._registry.close()

    def _one(self, message: Message) -> Message | Outcome:
        assert message.body is not None  # a tombstone is not packed
        context = SerializationContext(message.destination, MessageField.VALUE)
        try:
            document = msgspec.json.decode(message.body)
            body = self._serialize(document, context)
        except SchemaRegistryError as error:
            return self._refused(error, message)
        except _AsText:
            return Misconfigured(
                f"the schema registry gives {self._subject_of(message.destination)} as text: it "
                "does not know format=serialized, so register the serialized descriptor"
            )
        except Exception as error:
            if any(kind.__name__ == "TransportError" for kind in type(error).__mro__):
                return Unreachable(f"the schema registry does not answer: {said_of(error)}")
            return Permanent(
                f"not as the schema of {self._subject_of(message.destination)} wants it: "
                f"{said_of(error)}"
            )
        assert body is not None
        if self._type == "json" and msgspec.json.decode(body[FRAME:]) == document:
            # Byte for byte what Postgres holds: a number keeps the spelling it has there.
            body = body[:FRAME] + message.body
        headers = tuple(self._header(name, value) for name, value in message.headers)
        return msgspec.structs.replace(message, body=body, headers=headers)

    def _subject_of(self, topic: str | None) -> str:
        return self._subject.replace("{topic}", topic or "")

    def _header(self, name: str, value: str) -> tuple[str, str]:
        if name == "content-type" and value == "application/json":
            return name, CONTENT_TYPES.get(self._type, value)
        return name, value

    def _refused(self, error: SchemaRegistryError, message: Message) -> Outcome:
        text = (
            f"the schema registry refused subject {self._subject_of(message.destination)}: "
            f"{error.http_status_code} {said(error.error_message)}"
        )
        if error.http_status_code >= 500 or error.http_status_code in (408, 429):
            return Unreachable(text)
        return Misconfigured(text)

    def _serializer(self, schema: str | None) -> Serialize:
        made: Any
        if self._type == "avro":
            strict = {"validate.strict.allow.default": True}
            made = AvroSerializer(self._registry, schema, conf=self._conf | strict)
        elif self._type == "json":
            made = JSONSerializer(schema, self._registry, conf=self._conf)
        else:
            made = self._protobuf
        serialize: Serialize = made
        return serialize

    def _protobuf(self, document: Any, context: SerializationContext) -> bytes | None:
        """By the first message of the subject's latest schema."""
        latest = self._registry.get_latest_version(
            self._subject_of(context.topic), fmt="serialized"
        )
        if latest.schema_id not in self._classes:
            self._classes[latest.schema_id] = self._message_class(latest.schema)
        kind = self._classes[latest.schema_id]
        message = json_format.ParseDict(document, kind())
        serializer = ProtobufSerializer(kind, self._registry, conf=self._conf)
        body: bytes | None = serializer(message, context)
        return body

    def _message_class(self, schema: Schema) -> Any:
        pool = descriptor_pool.DescriptorPool()
        file = self._add(pool, "", schema)
        [first, *_] = pool.FindFileByName(file).message_types_by_name.values()
        return message_factory.GetMessageClass(first)

    def _add(self, pool: descriptor_pool.DescriptorPool, name: str, schema: Schema) -> str:
        """Add a file after those it refers to; the name it has."""
        for reference in schema.references or ():
            subject, version = reference.subject or "", reference.version or 1
            used = self._registry.get_version(subject, version, fmt="serialized")
            self._add(pool, reference.name or "", used.schema)
        try:
            text = b64decode(schema.schema_str or "", validate=True)
            file: Any = descriptor_pb2.FileDescriptorProto.FromString(text)
        except (binascii.Error, DecodeError) as error:
            raise _AsText from error
        file.name = name = name or file.name or "schema.proto"
        for known in file.dependency:
            if known.startswith("google/protobuf/"):
                found = descriptor_pb2.FileDescriptorProto()
                descriptor_pool.Default().FindFileByName(known).CopyToProto(found)
                pool.Add(found)
        pool.Add(file)
        return name


def said_of(error: Exception) -> str:
    """An error's kind and its first line."""
    return f"{type(error).__name__}: {said(str(error))}"
