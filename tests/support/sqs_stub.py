"""Canned SQS replies from another process: for speed, and for faults no emulator makes."""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from riverbridge.embedded.process import (
    LOOPBACK,
    ChildProcess,
    free_port,
    plain_environment,
    port_answers,
)

_SERVER = Path(__file__).with_name("sqs_stub_server.py")


class SqsStub:
    """Answers SendMessageBatch, SendMessage, GetQueueAttributes and GetQueueUrl for any queue.

    Faults are taken in the order they were asked for, one for each call of their action.
    """

    flavour = "stub"
    version = "1"

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="riverbridge-stub-"))
        self._child = ChildProcess(
            [sys.executable, _SERVER, str(self.port)],
            log=self._directory / "stub.log", cwd=self._directory, env=plain_environment(),
            scratch=[self._directory],
        )  # fmt: skip

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

    def start(self) -> None:
        self._child.start(lambda: port_answers(self.port), within=20)

    def stop(self) -> None:
        """End it; `start` brings an empty one on the same port."""
        self._child.stop()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def pause(self) -> None:
        self._child.pause()

    def resume(self) -> None:
        self._child.resume()

    @property
    def endpoint_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def queue_url(self, name: str) -> str:
        return f"{self.endpoint_url}/000000000000/{name}"

    def fail_entries(
        self,
        *entries: int,
        code: str = "InternalError",
        sender: bool = False,
        times: int = 1,
    ) -> None:
        """Report these entries (by place, from 0; none means all) of a batch as failed."""
        self._fault("entries", times, entries=entries, code=code, sender=sender)

    def lose_entries(self, *entries: int, times: int = 1) -> None:
        """Take these entries and mention them neither as sent nor as failed."""
        self._fault("missing", times, entries=entries)

    def wrong_md5(self, *entries: int, times: int = 1) -> None:
        """Answer with the checksum of another body for these entries."""
        self._fault("md5", times, entries=entries)

    def fail_call(
        self,
        status: int = 500,
        code: str = "InternalFailure",
        *,
        action: str = "SendMessageBatch",
        times: int = 1,
    ) -> None:
        """Refuse the whole call with an HTTP status and an AWS error code."""
        self._fault("status", times, action=action, status=status, code=code)

    def reset(self, after: bool = True, times: int = 1) -> None:
        """Drop the connection without an answer, after taking the messages or before."""
        self._fault("reset" if after else "refuse", times)

    def garbage(self, times: int = 1) -> None:
        """Answer 200 with something that is not JSON."""
        self._fault("garbage", times)

    def delay(self, seconds: float, times: int = 1) -> None:
        """Answer correctly, `seconds` late."""
        self._fault("delay", times, seconds=seconds)

    def clear(self) -> None:
        """Forget faults, counts and messages."""
        self._control(clear=True)

    @property
    def count(self) -> int:
        """Messages taken so far."""
        return int(self._control()["count"])

    @property
    def calls(self) -> int:
        """Calls answered or refused so far."""
        return int(self._control()["calls"])

    def received(self) -> list[dict[str, Any]]:
        """The last 10,000 messages taken: SQS's entry, and its QueueUrl."""
        return list(self._control(received=True)["received"])

    def _fault(
        self,
        kind: str,
        times: int,
        *,
        entries: Sequence[int] = (),
        action: str = "SendMessageBatch",
        **details: Any,
    ) -> None:
        # times: 0 or less means until clear().
        fault = {"kind": kind, "action": action, "times": times, "entries": entries, **details}
        self._control(fault=fault)

    def _control(self, **command: Any) -> dict[str, Any]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("POST", "/_stub", msgspec.json.encode(command))
            reply: dict[str, Any] = msgspec.json.decode(connection.getresponse().read())
        finally:
            connection.close()
        return reply
