"""`riverbridge run` with sinks that do as a test says: `python -m tests.chaos.scripted`.

The whole process is the real one; only what stands behind the sinks is scripted. Each call of a
sink is written to a ledger that outlives the process: `begin` before, `acked` after.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from riverbridge.cli import main
from riverbridge.model.outcome import Delivered, Outcome, Retry, Unreachable
from riverbridge.settings import KafkaSink
from riverbridge.sinks.base import Message

VARIABLE = "CHAOS_SCRIPT"
"""JSON: `ledger` is the path; `delay` the seconds a call takes; `kill_on` the jobs that kill the
process; `fail` what is answered instead for an id: `retry: …`, `unreachable: …` or `raise: …`;
`refuse` the share of calls for a job, 0 to 1, that it refuses at random, noted as `refused`."""


class FileSink:
    """Acknowledges everything after `delay`, and keeps the ledger."""

    def __init__(self, name: str) -> None:
        script = json.loads(os.environ[VARIABLE])
        self._name = name
        self._ledger = os.open(script["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._delay = float(script.get("delay", 0.0))
        self._kill_on = set(script.get("kill_on", ()))
        self._fail: dict[str, str] = script.get("fail", {})
        self._refuse = float(script.get("refuse", 0.0))
        # While this file exists nobody answers.
        self._down = Path(script["ledger"] + f".{name}.down")
        # The jobs that it names, a line each, are refused.
        self._refused = Path(script["ledger"] + f".{name}.refused")

    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        if self._down.exists():
            return [Unreachable(f"{self._name} is down")] * len(messages)
        ids = [int(message.id.rpartition(":")[2]) for message in messages]
        self._note("begin", ids)
        if self._kill_on.intersection(ids):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._delay:
            time.sleep(self._delay)
        refused = {id_ for id_ in ids if random.random() < self._refuse}
        refused.update(set(self._told()).intersection(ids))
        self._note("refused", [*refused])
        self._note("acked", [id_ for id_ in ids if id_ not in refused])
        return [Retry("not now") if id_ in refused else self._outcome(id_) for id_ in ids]

    def _told(self) -> list[int]:
        try:
            return [int(line) for line in self._refused.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """The ledger stays open: a call may still be out."""

    def _note(self, what: str, ids: Sequence[int]) -> None:
        now = time.time()
        lines = "".join(f"{what} {self._name} {os.getpid()} {now:.6f} {id_}\n" for id_ in ids)
        os.write(self._ledger, lines.encode())

    def _outcome(self, id_: int) -> Outcome:
        how, _, text = self._fail.get(str(id_), "").partition(": ")
        if how == "retry":
            return Retry(text)
        if how == "unreachable":
            return Unreachable(text)
        if how == "raise":
            raise RuntimeError(text)
        return Delivered()


if __name__ == "__main__":
    if VARIABLE not in os.environ:
        main(["run"])
    with mock.patch.object(KafkaSink, "open", lambda _settings, name, _receipts: FileSink(name)):
        main(["run"])
