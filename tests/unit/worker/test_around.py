"""What is around a function: middleware and hooks, of all kinds and of one (contract 9.2, 11.1)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from riverbridge.model.outcome import Cancelled, Completed, Delivered, Retry, Snoozed
from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob, current_job
from riverbridge.worker.registry import Middleware, Worker, Workers, WorkHook
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.worker import KIND, Shop, answered, notes

Job = RunningJob[Any]
told: ContextVar[str] = ContextVar("told", default="nothing")


class Heard(list[str]):
    """What happened, in order."""

    def middleware(self, name: str) -> Middleware:
        def around(job: Job) -> Iterator[None]:
            assert not hasattr(job, "args"), "they are not decoded yet"
            assert current_job() is job
            self.append(f"{name}(")
            try:
                yield
            except BaseException as error:
                self.append(f"{type(error).__name__}){name}")
                raise
            self.append(f"){name}")

        return around

    def async_middleware(self, name: str) -> Middleware:
        async def around(job: Job) -> AsyncIterator[None]:
            self.append(f"{name}(")
            await asyncio.sleep(0)
            yield
            await asyncio.sleep(0)
            self.append(f"){name}")

        return around

    def hook(self, name: str) -> WorkHook:
        heard = self

        class Hook(WorkHook):
            def work_begin(self, job: Job) -> None:
                assert not hasattr(job, "args")
                heard.append(f"{name}>")

            def work_end(self, job: Job, error: BaseException | None) -> BaseException | None:
                heard.append(f"<{name}:{type(error).__name__ if error else ''}")
                return error

        return Hook()

    def function(self, is_async: bool, error: Exception | None = None) -> Callable[[Job], object]:
        def plain(job: Job) -> None:
            self.append("work")
            if error is not None:
                raise error

        async def in_loop(job: Job) -> None:
            await asyncio.sleep(0)
            plain(job)

        return in_loop if is_async else plain


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [None, ValueError("x")])
def test_the_order_of_work(
    runtime: Runtime, heard: Heard, is_async: bool, error: Exception | None
) -> None:
    workers = Workers(
        hooks=[heard.hook("h1"), heard.hook("h2")],
        middleware=[heard.middleware("m1"), heard.middleware("m2")],
    )

    class Working(Worker[dict[str, Any]]):
        kind = KIND
        work = staticmethod(heard.function(is_async, error))  # type: ignore[assignment]

        def hooks(self) -> Sequence[WorkHook]:
            return [heard.hook("own")]

        def middleware(self) -> Sequence[Middleware]:
            return [heard.middleware("mine")]

    workers.add(Working())
    outcome = Shop(runtime, workers).one()
    end = "ValueError" if error else ""
    assert heard == [
        *("mine(", "m1(", "m2(", "h1>", "h2>", "own>", "work"),
        *(f"<h1:{end}", f"<h2:{end}", f"<own:{end}", f"{end})m2", f"{end})m1", f"{end})mine"),
    ]
    assert isinstance(outcome, Retry if error else Delivered)


def test_async_middleware_is_awaited_in_its_place(runtime: Runtime, heard: Heard) -> None:
    workers = Workers(middleware=[heard.middleware("m"), heard.async_middleware("a")])
    workers.work(dict[str, Any], kind=KIND)(heard.function(True))
    assert Shop(runtime, workers).one() == Delivered()
    assert heard == ["m(", "a(", "work", ")a", ")m"]


def swallows(job: Job) -> Iterator[None]:
    try:
        yield
    except ValueError:
        job.metadata_set("swallowed", True)


def replaces(job: Job) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise JobSnooze(3) from error


def prevents(job: Job) -> Iterator[None]:
    if job.attempt == 1:
        raise JobCancel("not today")
    yield


def spoils(job: Job) -> Iterator[None]:
    yield
    raise RuntimeError("spoilt")


@pytest.mark.parametrize(
    ("middleware", "error", "outcome", "work"),
    [
        (swallows, ValueError("x"), Completed('{"swallowed":true}'), True),
        (replaces, ValueError("x"), Snoozed(3.0), True),
        (prevents, None, Cancelled("JobCancelError: not today"), False),
        (spoils, None, Retry("spoilt"), True),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_middleware_decides(
    runtime: Runtime,
    heard: Heard,
    middleware: Middleware,
    error: Exception | None,
    outcome: Any,
    work: bool,
    is_async: bool,
) -> None:
    workers = Workers(middleware=[middleware])
    workers.work(dict[str, Any], kind=KIND)(heard.function(is_async, error))
    found = Shop(runtime, workers).one()
    assert type(found) is type(outcome)
    assert getattr(found, "error", None) == getattr(outcome, "error", None)
    assert notes(found) == notes(outcome)
    assert heard == (["work"] if work else [])


def test_what_does_not_get_in_leaves_by_the_same_way(runtime: Runtime, heard: Heard) -> None:
    class Refuses(WorkHook):
        def work_begin(self, job: Job) -> None:
            raise JobCancel("refused")

    workers = Workers(hooks=[heard.hook("h")], middleware=[heard.middleware("m")])
    workers.work(list[int], kind="undecoded")(heard.function(False))
    workers.work(dict[str, Any], kind=KIND, hooks=[Refuses()])(heard.function(False))
    undecoded, refused = Shop(runtime, workers, max_workers=1).work(
        job(id=1, kind="undecoded"), job(id=2)
    )
    assert isinstance(undecoded, Retry)
    assert refused == Cancelled("JobCancelError: refused")
    assert heard == ["m(", "h>", "InvalidJob)m", "m(", "h>", "JobCancel)m"], "work_end is skipped"


class Turns(WorkHook):
    """Turns whatever came into `into`."""

    def __init__(self, into: BaseException | None) -> None:
        self.into = into

    def work_end(self, job: Job, error: BaseException | None) -> BaseException | None:
        if isinstance(self.into, KeyError):
            raise self.into
        return self.into


@pytest.mark.parametrize(
    ("into", "outcome"),
    [(None, Delivered), (JobSnooze(1), Snoozed), (KeyError("x"), Retry), (ValueError("x"), Retry)],
)
@pytest.mark.parametrize("error", [None, RuntimeError("x")])
def test_a_hook_may_change_the_error(
    runtime: Runtime,
    heard: Heard,
    into: BaseException | None,
    outcome: type[Any],
    error: Exception | None,
) -> None:
    workers = Workers(hooks=[Turns(into), heard.hook("after")])
    workers.work(dict[str, Any], kind=KIND)(heard.function(False, error))
    assert isinstance(Shop(runtime, workers).one(), outcome)
    assert heard[-1] == f"<after:{type(into).__name__ if into else ''}"


def test_context_passes_inward(runtime: Runtime) -> None:
    seen: list[str] = []

    def tells(job: Job) -> Iterator[None]:
        told.set(f"job {job.id}")
        yield

    workers = Workers(middleware=[tells])

    @workers.work(dict[str, Any], kind=KIND)
    async def in_loop(job: Job) -> None:
        seen.append(await asyncio.to_thread(told.get))

    @workers.work(dict[str, Any], kind="plain")
    def plain(job: Job) -> None:
        seen.append(told.get())

    Shop(runtime, workers, max_workers=1).work(job(id=1), job(id=2, kind="plain"))
    assert seen == ["job 1", "job 2"]


def test_middleware_leaves_in_peace(runtime: Runtime) -> None:
    leaving, release = threading.Event(), asyncio.Event()

    async def slow(job: Job) -> AsyncIterator[None]:
        yield
        leaving.set()
        await release.wait()
        job.metadata_set("left", True)

    workers = Workers(middleware=[slow])

    @workers.work(dict[str, Any], kind=KIND)
    async def quick(job: Job) -> None:
        pass

    shop = Shop(runtime, workers)
    batch = shop.take()
    assert leaving.wait(10)
    shop.executor.interrupt()
    runtime.loop.call(release.set)
    assert [notes(outcome) for outcome in answered(batch)] == [{"left": True}]


def test_a_timeout_is_of_the_function_alone(runtime: Runtime) -> None:
    left: list[bool] = []

    async def slow(job: Job) -> AsyncIterator[None]:
        await asyncio.sleep(0.05)
        yield
        await asyncio.sleep(0.05)
        left.append(True)

    workers = Workers(middleware=[slow])

    @workers.work(dict[str, Any], kind=KIND, timeout=0.03)
    async def quick(job: Job) -> None:
        pass

    assert Shop(runtime, workers).one() == Delivered()
    assert left == [True]
