"""Functions that get many jobs in one call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from riverbridge.errors import WorkerError
from riverbridge.model.outcome import Cancelled, Completed, Delivered, Interrupted, Retry, Snoozed
from riverbridge.worker.job import JobSnooze, RunningJob, current_job
from riverbridge.worker.registry import Workers, WorkHook
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.wait import eventually
from tests.support.worker import KIND, Shop, answered

Jobs = list[RunningJob[list[int]]]


def shop_of(
    runtime: Runtime, function: Callable[[Jobs], object], workers: Workers | None = None, **o: Any
) -> Shop:
    workers = workers or Workers()
    workers.work_many(list[int], kind=KIND, **o)(function)
    return Shop(runtime, workers)


def rows(count: int) -> Iterator[Any]:
    return (job(id=n, args=f"[{n}]") for n in range(count))


@pytest.mark.parametrize("is_async", [False, True])
def test_it_gets_what_there_is(runtime: Runtime, is_async: bool) -> None:
    calls: list[list[int]] = []

    def plain(jobs: Jobs) -> None:
        calls.append([job.args[0] for job in jobs])

    async def in_loop(jobs: Jobs) -> None:
        await asyncio.sleep(0)
        plain(jobs)

    shop = shop_of(runtime, in_loop if is_async else plain, max_jobs=3)
    assert shop.work(*rows(7)) == [Delivered()] * 7
    assert sorted(calls) == [[0, 1, 2], [3, 4, 5], [6]]
    eventually(lambda: shop.executor.room() == 100)


def test_each_job_has_its_own_outcome(runtime: Runtime) -> None:
    def function(jobs: Jobs) -> list[BaseException | None]:
        assert [job.id for job in jobs] == [0, 1, 3], "the one that does not fit is not among them"
        jobs[0].record_output("kept")
        return [None, JobSnooze(2), ValueError("this one")]

    zero, one, unread, three = shop_of(runtime, function).work(
        job(id=0, args="[0]"), job(id=1, args="[1]"), job(id=2, args="{}"), job(id=3, args="[3]")
    )
    assert zero == Completed('{"output":"kept"}')
    assert one == Snoozed(2.0)
    assert isinstance(unread, Retry)
    assert unread.error.startswith("args do not fit")
    assert three == Retry("this one")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([None], "the function returned 1 results for 2 jobs"),
        (7, "'int' object is not iterable"),
    ],
)
def test_results_that_are_no_answer_fail_all(runtime: Runtime, results: Any, message: str) -> None:
    for outcome in shop_of(runtime, lambda jobs: results).work(*rows(2)):
        assert isinstance(outcome, Retry)
        assert outcome.error == message


def test_what_it_raises_is_the_error_of_all(runtime: Runtime) -> None:
    def function(jobs: Jobs) -> None:
        with pytest.raises(WorkerError, match="there is no job here"):
            current_job()
        raise SystemExit("out")

    for outcome in shop_of(runtime, function).work(*rows(2)):
        assert isinstance(outcome, Retry)
        assert outcome.error == "out"
        assert "in function" in outcome.trace


def test_middleware_and_hooks_are_of_each_job(runtime: Runtime) -> None:
    heard: list[str] = []

    def around(job: RunningJob[Any]) -> Iterator[None]:
        heard.append(f"({job.id}")
        try:
            yield
        except ValueError as error:
            heard.append(f"{job.id}:{error})")
            raise
        heard.append(f"{job.id})")

    class Hook(WorkHook):
        def work_end(
            self, job: RunningJob[Any], error: BaseException | None
        ) -> BaseException | None:
            return KeyError("turned") if job.id == 2 else error

    workers = Workers(middleware=[around], hooks=[Hook()])
    zero, one, two = shop_of(runtime, lambda jobs: [None, ValueError("x"), None], workers).work(
        *rows(3)
    )
    assert heard == ["(0", "(1", "(2", "0)", "1:x)"]
    assert zero == Delivered()
    assert isinstance(one, Retry)
    assert isinstance(two, Retry)
    assert two.error == "'turned'"


def test_one_cancelled_job_leaves_the_others_alone(runtime: Runtime) -> None:
    begun, release = threading.Event(), asyncio.Event()

    async def function(jobs: Jobs) -> list[BaseException | None]:
        begun.set()
        await release.wait()
        return [ValueError("x") if job.cancelled.is_set() else None for job in jobs]

    shop = shop_of(runtime, function)
    batch = shop.take(*rows(3))
    assert begun.wait(10)
    assert shop.executor.cancel(1)
    runtime.loop.call(release.set)
    assert answered(batch) == [
        Delivered(),
        Cancelled("JobCancelError: job cancelled remotely"),
        Delivered(),
    ]


@pytest.mark.parametrize("stop", [False, True])
def test_a_timeout_and_a_stop_end_the_call(runtime: Runtime, stop: bool) -> None:
    begun = threading.Event()

    async def function(jobs: Jobs) -> None:
        begun.set()
        await asyncio.sleep(3600)

    shop = shop_of(runtime, function, timeout=60 if stop else 0.05)
    batch = shop.take(*rows(3))
    assert begun.wait(10)
    if stop:
        shop.executor.interrupt()
        assert answered(batch) == [Interrupted()] * 3
    else:
        for outcome in answered(batch):
            assert isinstance(outcome, Retry)
            assert outcome.error == "context deadline exceeded"
        eventually(lambda: shop.executor.room() == 100)
