"""What is measured, in a process of its own; the bridge is set up by the environment alone."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import riverbridge
from riverbridge.bench.ground import QUEUE
from riverbridge.embedded.process import ChildProcess, free_port, plain_environment

RUN = (sys.executable, "-c", "from riverbridge.cli import main; main()", "run")
"""What `riverbridge run` is, from a source tree too."""

PYTHONPATH = str(Path(riverbridge.__file__).parents[1])


def environment(
    dsn: str, servers: str, *, on_success: str, ordered: bool = False
) -> dict[str, str]:
    """The settings of the measured bridge; all else is as it comes."""
    return plain_environment(
        PYTHONPATH=PYTHONPATH,
        DATABASE_URL=dsn,
        RIVERBRIDGE_SINKS__EVENTS__TYPE="kafka",
        RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS=servers,
        RIVERBRIDGE_SINKS__EVENTS__TOPIC="jobs.{kind}",
        RIVERBRIDGE_SINKS__EVENTS__ENVELOPE="cloudevents",
        RIVERBRIDGE_ROUTES__BENCH__QUEUES=QUEUE,
        RIVERBRIDGE_ROUTES__BENCH__KEY="{args.customer_id}",
        RIVERBRIDGE_ROUTES__BENCH__ORDERED=str(ordered).lower(),
        RIVERBRIDGE_ROUTES__BENCH__ON_SUCCESS=on_success,
        RIVERBRIDGE_PROBES__PORT=str(free_port()),
    )


@contextmanager
def running(
    command: Sequence[str], env: dict[str, str], ready: Callable[[], bool]
) -> Iterator[ChildProcess]:
    """The process of `command`, once it is `ready`; stopped cleanly with the block.

    It runs in an empty directory, so that no .env and no riverbridge.toml has a say. Raises
    ServerFailed with its last output.
    """
    with tempfile.TemporaryDirectory(prefix="riverbridge-bench-") as home:
        child = ChildProcess(command, log=Path(home) / "log", cwd=Path(home), env=env)
        child.start(ready, within=30.0)
        try:
            yield child
        finally:
            child.stop(within=40.0)
