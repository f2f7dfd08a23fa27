"""Timeouts, cancels, stops and lost batches: functions that are to end before they are done."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from riverbridge.engine.batch import Batch
from riverbridge.model.outcome import Cancelled, Delivered, Interrupted, Outcome, Retry
from riverbridge.worker.job import JobSnooze, RunningJob
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.watch import StuckJob
from tests.support.jobs import job
from tests.support.wait import eventually
from tests.support.worker import Shop, answered, shop_of

REMOTELY = "JobCancelError: job cancelled remotely"
Job = RunningJob[dict[str, Any]]


class Inside:
    """Tells when a function is in, and lets it wait for what ends it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    async def forever(self, job: Job) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended.set()

    def polling(self, job: Job) -> None:
        self.begun.set()
        assert job.cancelled.wait(10)
        self.ended.set()
        job.raise_if_cancelled()

    def wait(self) -> None:
        assert self.begun.wait(10)


@pytest.fixture(params=["forever", "polling"])
def function(request: pytest.FixtureRequest, inside: Inside) -> Callable[[Job], object]:
    """A function that goes on until it is to end, in the loop or in a thread."""
    found: Callable[[Job], object] = getattr(inside, request.param)
    return found


@pytest.fixture
def inside() -> Inside:
    return Inside()


def halted(shop: Shop, inside: Inside, halt: Callable[[Batch], object]) -> Outcome:
    """The outcome of a job that is halted while its function runs."""
    batch = shop.take()
    inside.wait()
    halt(batch)
    (outcome,) = answered(batch)
    return outcome


def test_a_job_that_takes_too_long_fails_as_in_river(
    runtime: Runtime, function: Callable[[Job], object]
) -> None:
    outcome = shop_of(runtime, function, options={"timeout": 0.05}).one()
    assert isinstance(outcome, Retry)
    assert outcome.error == "context deadline exceeded"
    assert outcome.trace.endswith("TimeoutError: context deadline exceeded\n")
    assert __name__.replace(".", "/") in outcome.trace


def test_a_cancelled_job_ends_cancelled(
    runtime: Runtime, function: Callable[[Job], object], inside: Inside
) -> None:
    shop = shop_of(runtime, function)
    assert not shop.executor.cancel(1)
    assert halted(shop, inside, lambda _: shop.executor.cancel(1)) == Cancelled(REMOTELY)
    eventually(lambda: shop.executor.room() == 100)
    assert not shop.executor.cancel(1)


def test_a_stop_gives_the_job_back(
    runtime: Runtime, function: Callable[[Job], object], inside: Inside
) -> None:
    shop = shop_of(runtime, function)
    assert halted(shop, inside, lambda _: shop.executor.interrupt()) == Interrupted()
    assert shop.executor.room() == 0, "nothing is to be claimed any more"
    assert shop.work(job(), job(id=2)) == [Interrupted(), Interrupted()], "nothing begins any more"


def test_a_lost_batch_ends_its_functions(
    runtime: Runtime, function: Callable[[Job], object], inside: Inside
) -> None:
    handled: list[BaseException] = []
    shop = shop_of(runtime, function, error_handler=lambda job, error: handled.append(error))
    batch = shop.take()
    inside.wait()
    batch.abandon()
    assert inside.ended.wait(10)
    eventually(lambda: shop.executor.room() == 100)
    assert not handled, "nobody waits for what comes of it"


def test_a_lost_job_that_came_again_is_another_one(runtime: Runtime, inside: Inside) -> None:
    # The row was free once the lane had lost it: it may be back before its old function ends.
    release = threading.Event()
    runs: list[Job] = []

    def stubborn(job: Job) -> None:
        runs.append(job)
        inside.begun.set()
        assert release.wait(10)
        job.raise_if_cancelled()

    shop = shop_of(runtime, stubborn)
    lost = shop.take()
    inside.wait()
    lost.abandon()
    again = shop.take()
    eventually(lambda: len(runs) == 2)
    assert shop.executor.room() == 98
    assert shop.executor.cancel(1)
    release.set()
    assert answered(again) == [Cancelled(REMOTELY)]
    eventually(lambda: shop.executor.room() == 100)


@pytest.mark.parametrize("ending", [RuntimeError("mine"), JobSnooze(5), None])
def test_whatever_error_a_cancelled_job_ends_with_it_is_cancelled(
    runtime: Runtime, inside: Inside, ending: Exception | None
) -> None:
    async def cleans_up(job: Job) -> None:
        try:
            await inside.forever(job)
        except asyncio.CancelledError:
            if ending is not None:
                raise ending from None

    shop = shop_of(runtime, cleans_up)
    outcome = halted(shop, inside, lambda _: shop.executor.cancel(1))
    assert outcome == (Delivered() if ending is None else Cancelled(REMOTELY))


@pytest.mark.parametrize("ending", [RuntimeError("mine"), JobSnooze(5), None])
def test_a_stop_only_excuses_what_ends_by_it(
    runtime: Runtime, inside: Inside, ending: Exception | None
) -> None:
    def mind_of_its_own(job: Job) -> None:
        inside.begun.set()
        assert job.cancelled.wait(10)
        if ending is not None:
            raise ending

    shop = shop_of(runtime, mind_of_its_own)
    outcome = halted(shop, inside, lambda _: shop.executor.interrupt())
    assert not isinstance(outcome, Interrupted)
    assert isinstance(outcome, Delivered) == (ending is None)


def test_a_timeout_that_nothing_comes_of_is_a_success(runtime: Runtime) -> None:
    def slow(job: Job) -> None:
        assert job.cancelled.wait(10)

    assert shop_of(runtime, slow, options={"timeout": 0.05}).one() == Delivered()


def test_a_cancel_after_a_timeout_counts(runtime: Runtime, inside: Inside) -> None:
    def slow(job: Job) -> None:
        assert job.cancelled.wait(10)
        inside.begun.set()
        assert inside.ended.wait(10)
        job.raise_if_cancelled()

    def halt(batch: Batch) -> None:
        shop.executor.cancel(1)
        inside.ended.set()

    shop = shop_of(runtime, slow, options={"timeout": 0.01})
    assert halted(shop, inside, halt) == Cancelled(REMOTELY)


def test_a_timeout_is_not_a_stop(runtime: Runtime, inside: Inside) -> None:
    # The process stops while a function that ran out of time cleans up: the attempt is spent.
    async def slow(job: Job) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            inside.begun.set()
            await asyncio.sleep(0.05)

    shop = shop_of(runtime, slow, options={"timeout": 0.05})
    outcome = halted(shop, inside, lambda _: shop.executor.interrupt())
    assert isinstance(outcome, Retry)
    assert outcome.error == "context deadline exceeded"


def test_a_function_cleans_up_in_peace(runtime: Runtime, inside: Inside) -> None:
    # Cancelled once, whatever else comes.
    async def cleans_up(job: Job) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            inside.begun.set()
            await asyncio.sleep(0.05)
            inside.ended.set()

    def halt(batch: Batch) -> None:
        shop.executor.cancel(1)
        shop.executor.interrupt()

    shop = shop_of(runtime, cleans_up, options={"timeout": 0.01})
    halted(shop, inside, halt)
    assert inside.ended.is_set()


@pytest.mark.parametrize("timeout", [-1, None])
def test_a_kind_may_have_no_timeout(
    runtime: Runtime, inside: Inside, timeout: float | None
) -> None:
    async def slow(job: Job) -> None:
        await asyncio.sleep(0.1)

    shop = shop_of(runtime, slow, options={"timeout": timeout}, timeout=0.02)
    assert shop.one() == Delivered()
    shop = shop_of(runtime, slow, timeout=0.02)
    assert isinstance(shop.one(), Retry), "the executor's timeout counts where a kind has none"


def test_what_has_not_begun_does_not_begin(runtime: Runtime, inside: Inside) -> None:
    ran: list[int] = []
    release = threading.Event()

    def first(job: Job) -> None:
        ran.append(job.id)
        inside.begun.set()
        assert release.wait(10)

    shop = shop_of(runtime, first, max_workers=1)
    batch = shop.take(job(id=1), job(id=2), job(id=3))
    inside.wait()
    assert shop.executor.room() == 0
    assert shop.executor.cancel(2), "it waits for a slot"
    shop.executor.interrupt()
    eventually(lambda: batch.outcomes()[1:] == [Cancelled(REMOTELY), Interrupted()])
    release.set()
    assert answered(batch)[0] == Delivered()
    assert ran == [1]


def test_a_stuck_job_is_told_once_and_its_slot_is_free(
    runtime: Runtime, stuck: list[StuckJob], inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def deaf_function(job: Job) -> None:
        if job.id == 7:
            assert release.wait(10)

    shop = shop_of(runtime, deaf_function, options={"timeout": 0.02}, max_workers=1)
    batch = shop.take(job(id=7, queue="slow"))
    eventually(lambda: stuck == [StuckJob(7, "order.placed", "slow", 1)])
    eventually(lambda: shop.executor.room() == 1)
    assert "in deaf_function" in caplog.text, "the log says where it stands"
    assert shop.one(job(id=8)) == Delivered()
    release.set()
    assert answered(batch) == [Delivered()]
    eventually(lambda: "came back after all" in caplog.text)
    assert shop.executor.room() == 1, "its slot is not free twice"
    release.clear()
    batch = shop.take(job(id=7))
    eventually(lambda: len(stuck) == 2)
    assert stuck[1].total == 1, "the first one is not stuck any more"
    release.set()
    answered(batch)


def test_a_function_that_blocks_the_loop_does_not_stop_the_clock(
    runtime: Runtime, stuck: list[StuckJob]
) -> None:
    release = threading.Event()

    async def blocks(job: Job) -> None:
        if job.id == 1:
            assert release.wait(10)
        await asyncio.sleep(0)

    shop = shop_of(runtime, blocks, options={"timeout": 0.02})
    batch = shop.take(job(id=1), job(id=2))
    eventually(lambda: [each.id for each in stuck] == [1])
    assert shop.executor.room() == 99, "the slot of the other one, which waits for the loop, is not"
    release.set()
    first, second = answered(batch)
    assert isinstance(first, Retry)
    assert first.error == "context deadline exceeded"
    assert second == Delivered()


def test_a_runtime_that_stops_times_nothing_out(stuck: list[StuckJob]) -> None:
    runtime = Runtime(stuck_after=0.0)
    runtime.start()
    release, begun = threading.Event(), threading.Event()

    def function(job: Job) -> None:
        begun.set()
        assert release.wait(10)
        job.raise_if_cancelled()

    batch = shop_of(runtime, function).take()
    assert begun.wait(10)
    assert runtime.stop(5.0)
    release.set()
    assert answered(batch) == [Delivered()]


def test_a_stuck_handler_that_fails_is_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    told: list[StuckJob] = []

    def fails(job: StuckJob) -> None:
        told.append(job)
        raise RuntimeError("the handler is broken")

    runtime = Runtime(stuck_after=0.02, on_stuck=fails)
    runtime.start()
    release = threading.Event()
    shop = shop_of(runtime, lambda job: release.wait(10), options={"timeout": 0.02})
    batch = shop.take(job(id=1), job(id=2))
    eventually(lambda: len(told) == 2)
    assert shop.executor.room() == 98
    release.set()
    assert answered(batch) == [Delivered(), Delivered()]
    assert "the handler is broken" in caplog.text
    assert runtime.stop(5.0)


def test_an_early_deadline_is_not_late_for_others(runtime: Runtime) -> None:
    # The watch sleeps until the first deadline it knows: a nearer one wakes it.
    began = time.monotonic()

    async def slow(job: Job) -> None:
        await asyncio.sleep(3600)

    far = shop_of(runtime, slow, options={"timeout": 1e12})
    near = shop_of(runtime, slow, options={"timeout": 0.1})
    batch = far.take()
    near.one()
    assert 0.1 <= time.monotonic() - began < 5
    far.executor.interrupt()
    assert answered(batch) == [Interrupted()]


def test_a_runtime_ends_though_a_task_was_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    runtime.start()
    left: list[asyncio.Task[None]] = []

    async def leaves(job: Job) -> None:
        left.append(asyncio.create_task(asyncio.sleep(3600)))

    assert shop_of(runtime, leaves).one() == Delivered()
    assert runtime.stop(5.0)
    assert left[0].cancelled()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
