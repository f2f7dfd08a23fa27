"""One Python process of the soak: works queues, stands for election, and keeps a journal.

    worker DSN NAME JOURNAL QUEUES RESCUE     until SIGTERM, RESCUE in seconds

What becomes of a job is decided by its row, so that it does not matter who had the attempts before,
and who died: as soak.go of the bridge's module does it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from riverbridge import (
    FixedRetry,
    JobCancel,
    JobSnooze,
    PoolOptions,
    QueueConfig,
    RunningJob,
    Worker,
    WorkerPool,
    Workers,
)

NOBODY = "nobody cancelled it"
WAIT = 3.0


@dataclass(frozen=True)
class Plan:
    """The args of each job: it snoozes and fails so often, then ends as `do` says."""

    number: int
    do: str
    fail: int
    snooze: int
    delay_ms: int
    last_ms: int


class Journal:
    """What began and what ended, in a file that outlives the process: each line one write."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def say(self, *words: object) -> None:
        os.write(self._file, f"{' '.join(map(str, words))}\n".encode())

    def note(self, what: str, job: RunningJob[Any]) -> None:
        self.say(what, job.id, job.attempt, time.monotonic_ns())


def end(job: RunningJob[Plan]) -> None:
    plan, before = job.args, job.metadata
    if before.get("snoozes", 0) < plan.snooze:
        raise JobSnooze(plan.delay_ms / 1000)
    if job.failures - before.get("river:rescue_count", 0) < plan.fail:
        raise ValueError("planned")
    if plan.do == "cancel":
        raise JobCancel("planned")


class Planned(Worker[Plan]):
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def next_retry(self, job: RunningJob[Plan]) -> float:
        return job.args.delay_ms / 1000


class InTheLoop(Planned):
    kind = "soak.loop"

    async def work(self, job: RunningJob[Plan]) -> None:
        self.journal.note("begin", job)
        try:
            if job.args.do == "wait":
                await asyncio.sleep(WAIT)
                raise RuntimeError(NOBODY)
            await asyncio.sleep(job.args.last_ms / 1000)
            end(job)
        finally:
            self.journal.note("end", job)


class InAThread(Planned):
    kind = "soak.thread"

    def work(self, job: RunningJob[Plan]) -> None:
        self.journal.note("begin", job)
        try:
            if job.args.do == "wait":
                job.cancelled.wait(WAIT)
                job.raise_if_cancelled()
                raise RuntimeError(NOBODY)
            time.sleep(job.args.last_ms / 1000)
            end(job)
        finally:
            self.journal.note("end", job)


def main(dsn: str, name: str, path: str, queues: str, rescue: str) -> None:
    faulthandler.enable()
    journal = Journal(path)
    workers = Workers()
    workers.add(InTheLoop(journal))
    workers.add(InAThread(journal))
    options = PoolOptions(
        name=name,
        hold=0.3,
        retry=FixedRetry(0.2),
        rescue_after=timedelta(seconds=float(rescue)),
        job_timeout=float(rescue) - 1,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with WorkerPool(dsn, workers, {each: QueueConfig(20) for each in queues.split(",")}, options):
        journal.say("started")
        stop.wait()
    journal.say("stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
