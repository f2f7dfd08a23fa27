"""Apache Kafka itself, from its jars: for what only the real broker does.

That is: hiding aborted records from read_committed, and keeping data over a restart.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient

from riverbridge.embedded.broker import create_topic
from riverbridge.embedded.process import LOOPBACK, ChildProcess, free_port, plain_environment
from riverbridge.errors import PartMissing, ServerFailed

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def kafka_version() -> str:
    """The version the pom names."""
    match = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.*?)<", _POM.read_text())
    assert match, f"{_POM} does not name Kafka's version"
    return match[1]


def find_jars() -> Path:
    """The directory with Kafka's jars, fetched with Maven on first use (43 MB, about 20 s).

    Raises PartMissing without Java, or where the jars are not there and Maven cannot get them.
    """
    if shutil.which("java") is None:
        raise PartMissing("Apache Kafka needs Java 17. To get it: apt-get install default-jre")
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = (Path(given) if given.startswith("/") else Path.home() / ".cache") / "riverbridge"
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    jars = cache / f"kafka-{kafka_version()}-{digest}"
    if jars.exists():
        return jars
    if shutil.which("mvn") is None:
        raise PartMissing("Apache Kafka's jars come by Maven. To get it: apt-get install maven")
    print(f"riverbridge tests: fetching Apache Kafka {kafka_version()}", file=sys.stderr)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as scratch:
        made = Path(scratch) / "jars"
        command = [
            "mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies",
            f"-DoutputDirectory={made}", "-DincludeScope=runtime",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0 or not any(made.glob("kafka_*.jar")):
            raise PartMissing(f"Maven did not get Apache Kafka's jars: {done.stdout[-1500:]}")
        try:
            made.rename(jars)
        except OSError:
            if not jars.exists():  # else another process was faster
                raise
    return jars


class RealKafka:
    """One Kafka node, broker and controller, in KRaft mode. Data and port stay over restarts."""

    flavour = "apache-kafka"

    def __init__(self) -> None:
        self._jars = find_jars()
        self.version = kafka_version()
        self.port = free_port()
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
        return f"{LOOPBACK}:{self.port}"

    def start(self, within: float = 60.0) -> None:
        """Start, formatting the storage the first time; answers metadata requests on return."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="riverbridge-kafka-"))
            self._format(self._directory)
        child = ChildProcess(
            self._java("kafka.Kafka", str(self._directory / "server.properties")),
            log=self._directory / "kafka.log", cwd=self._directory, env=self._environment(),
            scratch=[self._directory],
        )  # fmt: skip
        child.start(self._answers, within)
        self._child = child

    def _format(self, directory: Path) -> None:
        properties = directory / "server.properties"
        properties.write_text(
            _PROPERTIES.format(
                host=LOOPBACK, port=self.port, controller=self._controller, data=directory / "data"
            )
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = cluster.replace("-", "A", 1) if cluster.startswith("-") else cluster
        command = self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)
        )
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=directory,
            env=self._environment(),
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerFailed(f"Kafka's storage was not formatted: {done.stdout}{done.stderr}")

    def _environment(self) -> dict[str, str]:
        home = os.environ.get("JAVA_HOME")
        return plain_environment(**({"JAVA_HOME": home} if home else {}))

    def _java(self, main: str, *arguments: str) -> list[str]:
        return [
            "java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self._jars}/*",
            main, *arguments,
        ]  # fmt: skip

    def _answers(self) -> bool:
        try:
            admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
            return bool(admin.list_topics(timeout=1).brokers)
        except Exception:
            return False

    def create_topic(self, name: str, partitions: int = 1, within: float = 20.0) -> None:
        create_topic(self.bootstrap_servers, name, partitions, within)

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
