"""Job functions at work without a database: batches are made here, as a lane would make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from riverbridge.engine.batch import Batch
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Outcome
from riverbridge.worker.executor import Executor, QueueConfig
from riverbridge.worker.registry import Workers
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.wait import eventually

KIND = "order.placed"

FOREVER = float("inf")


class Shop:
    """An executor, and batches for it."""

    def __init__(
        self, runtime: Runtime, workers: Workers, *, max_workers: int = 100, **options: Any
    ) -> None:
        self.runtime = runtime
        self.executor = Executor(workers, runtime, QueueConfig(max_workers), **options)

    def take(self, *rows: ClaimedJob) -> Batch:
        """Hand over a batch of `rows`, or of one plain job."""
        batch = Batch(rows or (job(),), FOREVER)
        self.executor.take(batch)
        return batch

    def work(self, *rows: ClaimedJob) -> list[Outcome]:
        """What becomes of `rows`."""
        return answered(self.take(*rows))

    def one(self, row: ClaimedJob | None = None) -> Outcome:
        """What becomes of one job."""
        (outcome,) = self.work(row or job())
        return outcome


def answered(batch: Batch) -> list[Outcome]:
    """The outcomes of a batch, all of them."""
    if not batch.wait(10):  # it does not wait any more once a job asked for a lease
        eventually(lambda: batch.answered)
    return [outcome for outcome in batch.outcomes() if outcome is not None]


def shop_of(
    runtime: Runtime, function: Callable[[Any], object], *, options: Any = None, **others: Any
) -> Shop:
    """A shop whose only job function is `function`, for args as a dict; `options` of its kind."""
    workers = Workers()
    workers.work(dict[str, Any], kind=KIND, **(options or {}))(function)
    return Shop(runtime, workers, **others)


def notes(outcome: Outcome) -> Any:
    """What an outcome leaves in the row's metadata."""
    return json.loads(getattr(outcome, "metadata", None) or "{}")
