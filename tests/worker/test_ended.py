"""A row says when its own job ended, as River UI shows how long each took."""

from __future__ import annotations

import time

import pytest

from riverbridge import (
    Client,
    FixedRetry,
    InsertManyParams,
    InsertOpts,
    JobCancel,
    PoolOptions,
    QueueConfig,
    RawArgs,
    RunningJob,
    WorkerPool,
    Workers,
)
from tests.support.database import Database
from tests.support.wait import eventually

SLOW = 0.5
"""Seconds: less than the pool holds jobs under row locks."""

LEFT = "SELECT count(*) FROM river_job WHERE finalized_at IS NULL"

workers = Workers()


@workers.work(RawArgs, kind="slow")
def slow(job: RunningJob[RawArgs]) -> None:
    time.sleep(SLOW)


@workers.work(RawArgs, kind="quick")
def quick(job: RunningJob[RawArgs]) -> None:
    pass


@workers.work(RawArgs, kind="noted")
def noted(job: RunningJob[RawArgs]) -> None:
    job.record_output(1)


@workers.work(RawArgs, kind="cancel")
def cancel(job: RunningJob[RawArgs]) -> None:
    raise JobCancel("enough")


@workers.work(RawArgs, kind="fail", retry=FixedRetry(1))
def fail(job: RunningJob[RawArgs]) -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    "together",
    [["slow"], ["quick", "noted", "cancel", "fail", "slow"]],
    ids=["by itself", "in a batch with others"],
)
def test_a_row_says_when_its_job_ended(tables: Database, together: list[str]) -> None:
    once = InsertOpts(max_attempts=1)
    batch = [InsertManyParams(RawArgs(kind, "{}"), once) for kind in together]
    first = [InsertManyParams(RawArgs("quick", "{}"), once)]
    queues = {"default": QueueConfig(10)}
    pool = WorkerPool(tables.dsn, workers, queues, PoolOptions(hold=2.0, lanes=1))
    with Client(tables.dsn) as client, tables.connect() as look, pool:
        for jobs in (first, batch, batch):  # by whatever way the jobs before made the lane take
            client.insert_many(jobs)
            eventually(lambda: look.execute(LEFT).fetchone() == (0,))
        took = look.execute(
            "SELECT kind, extract(epoch FROM finalized_at - attempted_at)::float8 FROM river_job"
        ).fetchall()
    for kind, seconds in took:
        if kind == "slow":
            assert SLOW - 0.1 < seconds < 2 * SLOW
        else:
            assert 0 <= seconds < SLOW - 0.1, kind
