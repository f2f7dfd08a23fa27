"""librdkafka's mock cluster in a process of its own. It flatters the network, not the client.

`python -m riverbridge.bench.mock_kafka` prints the bootstrap servers and ends with its input.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from riverbridge.errors import ServerFailed

BROKERS = 3


@contextmanager
def mock_kafka() -> Iterator[str]:
    """The bootstrap servers of a cluster that ends with the block or with this process.

    Raises ServerFailed if it does not come up. Topics come into being with four partitions.
    """
    command = [sys.executable, "-m", "riverbridge.bench.mock_kafka"]
    with subprocess.Popen(  # noqa: S603 - this module, by this interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            servers = process.stdout.readline().strip()
            if not servers:
                raise ServerFailed("librdkafka's mock cluster did not come up; see above")
            yield servers
        finally:
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _serve() -> None:
    host = Producer({"test.mock.num.brokers": BROKERS, "log_level": 0})
    brokers = host.list_topics(timeout=10).brokers.values()
    sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
