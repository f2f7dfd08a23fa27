"""Apicurio Registry, with its contents in memory: a schema registry with Confluent's API.

It knows no `format=serialized`: what is registered as a text is given as that text.
"""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from riverbridge.embedded.process import LOOPBACK, ChildProcess, plain_environment
from riverbridge.embedded.server import Throwaway
from tests.support.jars import fetched, java

_POM = Path(__file__).parent / "apicurio" / "pom.xml"


def registry_version() -> str:
    """The version the pom names."""
    pattern = r"<artifactId>apicurio-registry-app</artifactId>\s*<version>(.*?)<"
    match = re.search(pattern, _POM.read_text())
    assert match, f"{_POM} does not name Apicurio's version"
    return match[1]


class RealRegistry(Throwaway):
    """`with RealRegistry() as registry`. Raises PartMissing without Java or its jars (142 MB)."""

    noun = "schema registry"
    prefix = "riverbridge-registry-"
    patience = 90.0

    def __init__(self) -> None:
        self._jars = fetched("Apicurio", registry_version(), _POM, unpack=True)
        super().__init__(0)

    @property
    def url(self) -> str:
        """Of what it has of Confluent's API."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def register(self, subject: str, type: str, schema: str, serialized: str = "") -> int:
        """A new version of the subject; its schema's id. serialized: a Protobuf descriptor, which
        is registered in place of the text."""
        with SchemaRegistryClient({"url": self.url}) as client:
            return int(client.register_schema(subject, Schema(serialized or schema, type)))

    def _launch(self, directory: Path, within: float) -> None:
        home = os.environ.get("JAVA_HOME")
        child = ChildProcess(
            java(self._jars, "io.quarkus.runner.GeneratedMain"),
            log=directory / "log",
            cwd=directory,
            env=plain_environment(
                QUARKUS_HTTP_HOST=LOOPBACK,
                QUARKUS_HTTP_PORT=str(self.port),
                HOME=str(directory),
                **({"JAVA_HOME": home} if home else {}),
            ),
            scratch=[directory],
        )
        child.start(self._answers, within)
        self._child = child

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
