"""An application under test: what it inserts, and the functions that work it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from riverbridge import (
    InsertOpts,
    JobCancel,
    JobSnooze,
    RunningJob,
    Workers,
    WorkHook,
)


@dataclass
class Mail:
    to: str
    subject: str = "hello"
    kind: ClassVar[str] = "mail"


@dataclass
class Order:
    id: int
    kind: ClassVar[str] = "order"


@dataclass
class Ship:
    order: int
    kind: ClassVar[str] = "ship"


class Told(WorkHook):
    """What the hooks were told, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def work_begin(self, job: RunningJob[Any]) -> None:
        self.lines.append(f"begin {job.kind}")

    def work_end(self, job: RunningJob[Any], error: BaseException | None) -> BaseException | None:
        self.lines.append(f"end {job.kind} {type(error).__name__}")
        return error


@dataclass(frozen=True)
class After:
    """A retry policy without jitter."""

    seconds: float

    def delay(self, failures: int) -> float:
        return self.seconds


def shop(told: Told | None = None, *, in_loop: bool = False) -> Workers:
    """Functions of all sorts; `mail` ends as the address says. in_loop: `order` is async."""
    workers = Workers(hooks=[told] if told else [])

    @workers.work(Mail)
    def mail(job: RunningJob[Mail]) -> None:
        match job.args.to:
            case "later":
                raise JobSnooze(3600)
            case "nobody":
                raise JobCancel("no such person")
            case "broken":
                raise ConnectionError("no mail today")

    def order(job: RunningJob[Order]) -> None:
        job.record_output({"ordered": job.args.id})
        job.client.insert(Ship(job.args.id), InsertOpts(priority=2))

    async def order_in_loop(job: RunningJob[Order]) -> None:
        job.record_output({"ordered": job.args.id})
        await job.client.insert(Ship(job.args.id), InsertOpts(priority=2))

    workers.work(Order)(order_in_loop if in_loop else order)

    @workers.work_many(Ship)
    def ship(jobs: list[RunningJob[Ship]]) -> list[Exception | None]:
        for job in jobs:
            job.metadata_set("together", len(jobs))
        return [None if job.args.order > 0 else ValueError("no order") for job in jobs]

    return workers
