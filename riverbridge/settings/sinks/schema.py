"""Which schema registry a sink's bodies are written for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from riverbridge.errors import ConfigurationError
from riverbridge.settings import checks
from riverbridge.settings.parts import Boolean, Part
from riverbridge.settings.sinks.check import Found, unencrypted
from riverbridge.settings.values import Choice, Secret, Text
from riverbridge.sinks.base import Sink

Type = Literal["avro", "json", "protobuf"]
_LIBRARIES = ("fastavro", "google.protobuf", "jsonschema", "authlib")


class Registry(Part):
    """A schema registry, and how its schemas are found."""

    url: Annotated[str | None, Text(2048, checks.url, "URL")] = Field(
        None,
        description="The registry, Confluent's or one with its API; without, bodies stay as they "
        "are. Needs `riverbridge[schemas]`.",
        examples=["https://registry:8081"],
    )
    type: Annotated[Literal["avro", "json", "protobuf"], Choice("avro", "json", "protobuf")] = (
        Field("avro", description="What the schemas are, and so what the bodies become.")
    )
    subject: Annotated[str, Text(255)] = Field(
        "{topic}-value", description="The subject; `{topic}` stands for the message's topic."
    )
    file: Annotated[str | None, Text(4096, kind="path")] = Field(
        None,
        description="A file with the schema to use (Avro, JSON); by default the subject's latest.",
        examples=["/etc/riverbridge/order.avsc"],
    )
    auto_register: Boolean = Field(
        False, description="Register the schema of FILE where the subject does not have it."
    )
    username: Annotated[str | None, Text(255)] = Field(
        None, description="The user of the registry (basic authentication)."
    )
    password: Annotated[SecretStr | None, Secret()] = Field(
        None, description="The user's password."
    )
    ca_file: Annotated[str | None, Text(4096)] = Field(
        None,
        description="Certificate authorities to trust instead of the usual ones, a PEM file.",
        examples=["/etc/ssl/internal.pem"],
    )

    def problems(self, envelope: str) -> Iterable[Found]:
        """What cannot work with the sink's envelope."""
        if self.url is None:
            for name, field in type(self).model_fields.items():
                if getattr(self, name) != field.default:
                    yield name, "has no effect without URL; give the registry"
            return
        missing = [name for name in _LIBRARIES if not _found(name)]
        if missing:
            text = f"needs riverbridge[schemas], of which {', '.join(missing)} is not installed"
            yield "url", text
        if envelope == "cloudevents-structured":
            yield (
                "url",
                "is for args, and a structured CloudEvent holds more",
            )
        if self.file is None and self.auto_register:
            yield "auto_register", "needs FILE, the schema to register"
        if self.file is not None and self.type == "protobuf":
            yield "file", "is for avro and json; a protobuf schema is the subject's latest"
        if (self.username is None) != (self.password is None):
            yield "username", "and PASSWORD go together; set both or none"

    def insecurities(self) -> Iterable[Found]:
        """What gives up transport security."""
        return unencrypted("url", self.url)

    def around(self, sink: Sink, delivery_timeout: float) -> Sink:
        """`sink`, with bodies in the registry's format. Raises ConfigurationError."""
        if self.url is None:
            return sink
        from riverbridge.sinks.packed import ALL, PackedSink
        from riverbridge.sinks.schemas import Schemas

        user = None
        if self.username is not None and self.password is not None:
            user = f"{self.username}:{self.password.get_secret_value()}"
        schemas = Schemas(
            self.type,
            url=self.url,
            subject=self.subject,
            schema=None if self.file is None else _read(self.file),
            auto_register=self.auto_register,
            user=user,
            ca_file=self.ca_file,
            timeout=delivery_timeout / 2,
        )
        return PackedSink(sink, ALL, schemas.pack, schemas.close)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"schema: {file} cannot be read: {error}") from error
