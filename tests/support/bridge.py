"""The bridge under test: in this process with sinks that do as told, or as `riverbridge run`."""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from riverbridge.embedded.process import LOOPBACK, ChildProcess, free_port, plain_environment
from riverbridge.model.outcome import Delivered, Outcome, Unreachable
from riverbridge.service.running import Bridge
from riverbridge.settings import load
from riverbridge.sinks.base import Message, Sink
from tests.support.database import Database


class ScriptedSink:
    """Answers each message as `script` says, `delay` seconds after it came, and keeps what came.

    The script runs when the message comes; both it and `delay` may be changed at any time.
    """

    def __init__(
        self,
        script: Callable[[Message], Outcome] = lambda message: Delivered(),
        *,
        delay: float = 0.0,
    ) -> None:
        self.script = script
        self.delay = delay
        self.received: list[tuple[float, Message]] = []
        """Each message with the time.monotonic at which it came."""
        self._closed = threading.Event()

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        now = time.monotonic()
        self.received.extend((now, message) for message in messages)
        outcomes = [self.script(message) for message in messages]
        if self.delay and self._closed.wait(self.delay):
            return [Unreachable("the sink was closed")] * len(messages)
        return outcomes

    def close(self) -> None:
        self._closed.set()

    @property
    def job_ids(self) -> list[int]:
        """The ids of the jobs that came, in order, as often as they came."""
        return [job_id(message) for _, message in self.received]


def job_id(message: Message) -> int:
    """The id of the job behind `message`; its inserter must not have set an `event_id`."""
    return int(message.id.rpartition(":")[2])


@contextmanager
def running_bridge(
    database: Database, sinks: Mapping[str, Sink], env: Mapping[str, str] | None = None
) -> Iterator[Bridge]:
    """The whole bridge in threads of this process, delivering to `sinks`.

    env: settings, without RIVERBRIDGE_ in front, as in {"ROUTES__A__QUEUES": "a"}. Without routes
    the queue `outbox` goes to all sinks.
    """
    placeholders = {
        f"SINKS__{name.upper()}__{key}": value
        for name in sinks
        for key, value in _PLACEHOLDER.items()
    }
    settings = load(environment(database, placeholders | dict(env or {})), None, None)
    bridge = Bridge(settings, sinks=sinks)
    bridge.start()
    try:
        yield bridge
    finally:
        bridge.stop()


class BridgeProcess:
    """`riverbridge run` as a process of its own; start, stop, kill, pause and resume it."""

    def __init__(self, database: Database, env: Mapping[str, str]) -> None:
        """env: as for `running_bridge`; sinks must be given."""
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="riverbridge-run-"))
        chosen = environment(database, dict(env) | {"PROBES__PORT": str(self.port)})
        self._child = ChildProcess(
            [sys.executable, "-c", "from riverbridge.cli import main; main()", "run"],
            log=self._directory / "run.log",
            cwd=self._directory,
            env=plain_environment(PYTHONPATH=str(_ROOT), **chosen),
            scratch=[self._directory],
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self, within: float = 20.0) -> None:
        """Start it, and return once it says that it is alive."""
        self._child.start(lambda: self.answer("/livez") == 200, within)

    def stop(self, within: float = 40.0) -> None:
        """SIGTERM, and wait for the end. Harmless when it is gone."""
        self._child.stop(within)

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self._child.pause()

    def resume(self) -> None:
        self._child.resume()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def log(self) -> str:
        """All that it has written so far, in every life."""
        path = self._child.log
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def answer(self, path: str) -> int | None:
        """The HTTP status with which the probes answer for `path`; None without an answer."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def environment(database: Database, env: Mapping[str, str]) -> dict[str, str]:
    """What `riverbridge run` reads, from settings without their prefix."""
    prefixed = {f"RIVERBRIDGE_{name}": value for name, value in env.items()}
    return {"DATABASE_URL": database.dsn, "RIVERBRIDGE_PROBES__PORT": "0", **NO_CONSOLE} | prefixed


NO_CONSOLE = {"RIVERBRIDGE_HTTP__CONSOLE": "false"}
"""Its port is one for all of a machine, unless it is set."""

_ROOT = Path(__file__).parents[2]

_PLACEHOLDER = {"TYPE": "kafka", "BOOTSTRAP_SERVERS": f"{LOOPBACK}:9", "TOPIC": "unused"}
