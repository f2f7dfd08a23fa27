"""Apache Kafka itself, from its jars: for what only the real broker does.

That is: hiding aborted records from read_committed, keeping data over a restart, the limits of a
topic, signing in, and TLS.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from riverbridge.embedded.broker import create_topic
from riverbridge.embedded.process import LOOPBACK, ChildProcess, free_port, plain_environment
from riverbridge.errors import ServerFailed
from tests.support.jars import fetched, java

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners={listeners},CONTROLLER://{host}:{controller}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


def kafka_version() -> str:
    """The version the pom names."""
    match = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.*?)<", _POM.read_text())
    assert match, f"{_POM} does not name Kafka's version"
    return match[1]


def find_jars() -> Path:
    """The directory with Kafka's jars (43 MB, about 20 s on first use). Raises PartMissing."""
    return fetched("Apache Kafka", kafka_version(), _POM)


class RealKafka:
    """One Kafka node, broker and controller, in KRaft mode. Data and port stay over restarts.

    listeners: further ones, by name, with their security protocols; `servers` has the addresses.
    properties: further lines of server.properties.
    scram: users for SCRAM-SHA-256, and their passwords.
    """

    flavour = "apache-kafka"

    def __init__(
        self,
        *,
        listeners: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
    ) -> None:
        self.jars = find_jars()
        self.version = kafka_version()
        self.port = free_port()
        self._protocols = {"PLAINTEXT": "PLAINTEXT"} | dict(listeners or {})
        self._ports = {"PLAINTEXT": self.port} | {name: free_port() for name in listeners or {}}
        self._properties = dict(properties or {})
        self._scram = dict(scram or {})
        self._advertised = dict(self._ports)
        self._controller = free_port()
        self._directory: Path | None = None
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def bootstrap_servers(self) -> str:
        return self.servers("PLAINTEXT")

    def servers(self, listener: str, host: str = LOOPBACK) -> str:
        """The address of a listener, under another name for loopback if `host` says so."""
        return f"{host}:{self._ports[listener]}"

    def advertise(self, listener: str, port: int) -> None:
        """Before the first start: tell clients of this listener to connect to another port."""
        self._advertised[listener] = port

    @property
    def log(self) -> str:
        """All that the broker has written so far."""
        assert self._directory is not None, "start() was not called"
        return (self._directory / "kafka.log").read_text(encoding="utf-8", errors="replace")

    def start(self, within: float = 60.0) -> None:
        """Start, formatting the storage the first time; answers metadata requests on return."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="riverbridge-kafka-"))
            self._format(self._directory)
        child = ChildProcess(
            self.java("kafka.Kafka", str(self._directory / "server.properties")),
            log=self._directory / "kafka.log", cwd=self._directory, env=self._environment(),
            scratch=[self._directory],
        )  # fmt: skip
        child.start(self._answers, within)
        self._child = child

    def _format(self, directory: Path) -> None:
        properties = directory / "server.properties"
        text = _PROPERTIES.format(
            host=LOOPBACK,
            controller=self._controller,
            data=directory / "data",
            listeners=",".join(f"{name}://{self.servers(name)}" for name in self._protocols),
            advertised=",".join(f"{n}://{LOOPBACK}:{p}" for n, p in self._advertised.items()),
            protocols=",".join(f"{name}:{what}" for name, what in self._protocols.items()),
        )
        text += "".join(f"{name}={value}\n" for name, value in self._properties.items())
        properties.write_text(text)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = cluster.replace("-", "A", 1) if cluster.startswith("-") else cluster
        command = self.java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)
        )
        for user, password in self._scram.items():
            command += ["--add-scram", f"SCRAM-SHA-256=[name={user},password={password}]"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=directory,
            env=self._environment(),
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerFailed(f"Kafka's storage was not formatted: {done.stdout}{done.stderr}")

    def _environment(self) -> dict[str, str]:
        home = os.environ.get("JAVA_HOME")
        return plain_environment(**({"JAVA_HOME": home} if home else {}))

    def java(self, main: str, *arguments: str) -> list[str]:
        """The command that runs a class, or a file of Java source, with Kafka's own classes."""
        return java(self.jars, main, *arguments)

    def _answers(self) -> bool:
        try:
            admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
            return bool(admin.list_topics(timeout=1).brokers)
        except Exception:
            return False

    def create_topic(self, name: str, partitions: int = 1, within: float = 20.0) -> None:
        create_topic(self.bootstrap_servers, name, partitions, within)

    def records(self, topic: str, partitions: int = 1) -> int:
        """How many offsets the topic has given out, by its high watermarks."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "count", "log_level": 0}
        )
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            return sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        finally:
            consumer.close()

    def batches(self, topic: str, partitions: int = 1) -> list[dict[str, str]]:
        """What the topic's files say of its record batches, as Kafka's own tool reads them."""
        assert self._directory is not None, "start() was not called"
        files = [
            str(path)
            for number in range(partitions)
            for path in sorted((self._directory / "data" / f"{topic}-{number}").glob("*.log"))
        ]
        done = subprocess.run(
            self.java("kafka.tools.DumpLogSegments", "--files", ",".join(files)),
            capture_output=True, text=True, timeout=60, env=self._environment(),
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerFailed(f"Kafka's files were not read: {done.stdout}{done.stderr}")
        lines = [line for line in done.stdout.splitlines() if line.startswith("baseOffset: ")]
        return [dict(re.findall(r"(\w+): (\S+)", line)) for line in lines]

    def stop(self) -> None:
        """Shut down; the data stays for `start`."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(within=20)

    def kill(self) -> None:
        """End it as a crash would; the data stays for `start`."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def restart(self) -> None:
        """Shut down and start again, with the same data on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Shut down and remove the data."""
        self.stop()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
