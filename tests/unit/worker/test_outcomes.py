"""What a function does to its job: River's order of the cases, and what no function may break."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from riverbridge.model.outcome import Cancelled, Delivered, Outcome, Retry, Snoozed
from riverbridge.model.retry import LONGEST, FixedRetry, RiverRetry
from riverbridge.model.settlement import settlement
from riverbridge.model.text import TRACE_LIMIT
from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob
from riverbridge.worker.registry import Worker, Workers
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.verdict import ErrorHandler
from tests.support.jobs import job
from tests.support.wait import eventually
from tests.support.worker import KIND, Shop, answered, shop_of

Job = RunningJob[dict[str, Any]]


def raising(error: BaseException) -> Callable[[Job], None]:
    """A job function that raises `error`."""

    def function(job: Job) -> None:
        raise error

    return function


def caused(error: Exception, cause: BaseException) -> Exception:
    """As `raise error from cause` leaves it."""
    error.__cause__ = cause
    return error


def looped(error: Exception) -> Exception:
    """Its own cause's cause."""
    error.__cause__ = ValueError("round and round")
    error.__cause__.__cause__ = error
    return error


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (JobSnooze(7), Snoozed(7.0)),
        (caused(RuntimeError("x"), JobSnooze(0)), Snoozed(0.0)),
        (ExceptionGroup("two", [ValueError("x"), JobSnooze(1)]), Snoozed(1.0)),
        (ExceptionGroup("both", [JobCancel("x"), JobSnooze(1)]), Snoozed(1.0)),
        (JobCancel("no customer"), Cancelled("JobCancelError: no customer")),
        (JobCancel(ValueError("no customer")), Cancelled("JobCancelError: no customer")),
        (JobCancel(), Cancelled("JobCancelError: <nil>")),
        (caused(RuntimeError("x"), JobCancel("y")), Cancelled("JobCancelError: y")),
    ],
)
def test_what_a_function_asks_for(
    runtime: Runtime, error: Exception, outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[BaseException] = []
    shop = shop_of(runtime, raising(error), error_handler=lambda job, e: handled.append(e))
    assert shop.one() == outcome
    assert not handled
    assert not caplog.records


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ValueError("no such customer"), "no such customer"),
        (ValueError, "ValueError"),
        (asyncio.CancelledError, "CancelledError"),
        (lambda: StopIteration("early"), "early"),
        (lambda: GeneratorExit("closed"), "closed"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (lambda: SystemExit(3), "3"),
        (lambda: RecursionError("too deep"), "too deep"),
        (Mute, "Mute"),
        (lambda: looped(RuntimeError("a ring")), "a ring"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_any_error_is_a_failed_attempt_and_no_harm_to_others(
    runtime: Runtime, make: Callable[[], BaseException], text: str, is_async: bool
) -> None:
    def fails(job: Job) -> None:
        if job.id == 1:
            raise make()

    async def fails_later(job: Job) -> None:
        await asyncio.sleep(0)
        fails(job)

    if is_async and text == "early":
        text = "coroutine raised StopIteration"  # as Python has it
    shop = shop_of(runtime, fails_later if is_async else fails)
    failed, *rest = shop.work(job(id=1), job(id=2), job(id=3))
    assert isinstance(failed, Retry)
    assert failed.error == text
    assert "in fails\n" in failed.trace
    assert "riverbridge/worker" not in failed.trace, "it begins with the function"
    assert rest == [Delivered(), Delivered()]
    eventually(lambda: shop.executor.room() == 100)


def test_what_a_task_left_behind_raises_does_not_end_the_loop(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[asyncio.Task[None]] = []

    async def exits() -> None:
        sys.exit(1)

    async def leaves(job: Job) -> None:
        kept.append(asyncio.create_task(exits()))
        await asyncio.sleep(0.01)

    shop = shop_of(runtime, leaves)
    assert shop.work(job(id=1), job(id=2)) == [Delivered(), Delivered()]
    assert "thrown out of and goes on" in caplog.text


@pytest.mark.parametrize("text", ["\x00", "half \ud800 a pair", "語" * 5000])
def test_an_error_is_one_that_a_row_can_hold(runtime: Runtime, text: str) -> None:
    outcome = shop_of(runtime, raising(RuntimeError(text))).one()
    row = settlement(job(), outcome, retry=RiverRetry())
    assert row is not None
    assert row.error is not None
    for written in (row.error, row.trace):
        assert "\x00" not in written
        written.encode()


def test_of_a_long_stack_the_end_is_kept(runtime: Runtime) -> None:
    def deep(job: Job, left: int = 400) -> None:
        # Two functions in turn, as Python shortens the lines of one that calls itself.
        deeper(job, left) if left else print(undefined)  # type: ignore[name-defined]  # noqa: F821

    def deeper(job: Job, left: int) -> None:
        deep(job, left - 1)

    outcome = shop_of(runtime, deep).one()
    assert isinstance(outcome, Retry)
    assert outcome.error == "name 'undefined' is not defined"
    assert len(outcome.trace.encode()) <= TRACE_LIMIT
    assert outcome.trace.startswith("Traceback (most recent call last)")
    assert outcome.trace.endswith("NameError: name 'undefined' is not defined\n")
    wordy = shop_of(runtime, raising(RuntimeError("long " * TRACE_LIMIT + "end"))).one()
    assert isinstance(wordy, Retry)
    assert len(wordy.trace.encode()) <= TRACE_LIMIT
    assert wordy.trace.endswith("end\n")


def test_args_that_do_not_fit_fail_the_attempt_before_the_function(runtime: Runtime) -> None:
    workers = Workers()

    @workers.work(list[int], kind=KIND)
    def never(job: RunningJob[list[int]]) -> None:
        pytest.fail("was called")

    first, second = Shop(runtime, workers).work(job(args='["x"]'), job(args="[1"))
    assert isinstance(first, Retry)
    assert first.error == "args do not fit list: Expected `int`, got `str` - at `$[0]`"
    assert first.trace == ""
    assert isinstance(second, Retry)
    assert second.error.startswith("args do not fit list: Input data was truncated")


def test_an_unknown_kind_is_rivers_error(runtime: Runtime) -> None:
    shop = shop_of(runtime, lambda job: None)
    known, unknown = shop.work(job(), job(kind="nobody.knows"))
    assert known == Delivered()
    assert isinstance(unknown, Retry)
    assert unknown.error == (
        "job kind is not registered in the client's Workers bundle: nobody.knows"
    )
    assert unknown.trace == ""
    assert shop.executor.kinds() == [KIND]


@pytest.mark.parametrize(
    ("answer", "cancels"), [(True, True), (None, False), ("yes", False), (False, False)]
)
def test_an_error_handler_may_cancel(runtime: Runtime, answer: object, cancels: bool) -> None:
    seen: list[tuple[int, BaseException]] = []

    def handler(job: RunningJob[Any], error: BaseException) -> object:
        seen.append((job.id, error))
        return answer

    error = RuntimeError("x")
    outcome = shop_of(runtime, raising(error), error_handler=handler).one()
    assert seen == [(1, error)]
    assert isinstance(outcome, Cancelled if cancels else Retry)
    assert outcome.error == "x"
    assert "in function" in outcome.trace


def test_an_error_handler_that_fails_is_no_harm(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(job: RunningJob[Any], error: BaseException) -> None:
        sys.exit("handler down")

    outcome = shop_of(runtime, raising(RuntimeError("x")), error_handler=handler).one()
    assert isinstance(outcome, Retry)
    assert "handler down" in caplog.text


@pytest.mark.parametrize("timed_out", [False, True])
def test_an_error_handler_hears_of_unknown_kinds_and_timeouts(
    runtime: Runtime, timed_out: bool
) -> None:
    seen: list[str] = []
    handler: ErrorHandler = lambda job, error: seen.append(type(error).__name__)  # noqa: E731

    async def slow(job: Job) -> None:
        await asyncio.sleep(3600)

    shop = shop_of(runtime, slow, options={"timeout": 0.01}, error_handler=handler)
    shop.one(job() if timed_out else job(kind="nobody.knows"))
    assert seen == ["TimeoutError" if timed_out else "WorkerError"]


class TestRetries:
    """What a kind says of when it is tried again."""

    def delay(self, runtime: Runtime, wanted: Callable[[Job], float | None]) -> float | None:
        class Failing(Worker[dict[str, Any]]):
            kind = KIND

            def work(self, job: Job) -> None:
                raise RuntimeError("x")

            def next_retry(self, job: Job) -> float | None:
                return wanted(job)

        workers = Workers()
        workers.add(Failing())
        outcome = Shop(runtime, workers).one(job(failures=3))
        assert isinstance(outcome, Retry)
        return outcome.delay

    def test_a_worker_says_how_long(self, runtime: Runtime) -> None:
        assert self.delay(runtime, lambda job: job.failures * 10.0) == 30.0
        assert self.delay(runtime, lambda job: None) is None
        assert self.delay(runtime, lambda job: 0) == 0
        assert self.delay(runtime, lambda job: 1e300) == LONGEST

    @pytest.mark.parametrize("seconds", [-1.0, float("nan")])
    def test_an_impossible_time_is_the_clients(
        self, runtime: Runtime, seconds: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.delay(runtime, lambda job: seconds) is None
        assert "the client's retry policy counts" in caplog.text

    def test_one_that_fails_is_the_clients(
        self, runtime: Runtime, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.delay(runtime, lambda job: 1 / 0) is None
        assert "division by zero" in caplog.text

    def test_a_policy_of_a_kind(self, runtime: Runtime) -> None:
        shop = shop_of(runtime, raising(RuntimeError("x")), options={"retry": FixedRetry(1000)})
        outcome = shop.one()
        assert isinstance(outcome, Retry)
        assert outcome.delay == pytest.approx(1000, rel=0.1001)
        assert isinstance(unread := shop.one(job(args="[]")), Retry)
        assert unread.delay is None, "only once the args are decoded"


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), LONGEST * 2])
def test_a_snooze_that_no_row_can_hold_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="use 0 to 9223372036"):
        JobSnooze(seconds)


class TestSlots:
    """At most so many at once, however many are handed over."""

    @pytest.mark.parametrize("is_async", [False, True])
    def test_no_more_run_than_there_are_slots(self, runtime: Runtime, is_async: bool) -> None:
        inside = peak = 0
        lock = threading.Lock()
        gate = threading.Event()
        loop_gate = asyncio.Event()

        def count(by: int) -> None:
            nonlocal inside, peak
            with lock:
                inside += by
                peak = max(peak, inside)

        def plain(job: Job) -> None:
            count(1)
            assert gate.wait(10)
            count(-1)

        async def in_loop(job: Job) -> None:
            count(1)
            await loop_gate.wait()
            count(-1)

        shop = shop_of(runtime, in_loop if is_async else plain, max_workers=3)
        # As two lanes may do that both saw the same room.
        one = shop.take(*(job(id=n) for n in range(1, 6)))
        other = shop.take(*(job(id=n) for n in range(6, 11)))
        eventually(lambda: inside == 3)
        assert shop.executor.room() == 0
        gate.set()
        runtime.loop.call(loop_gate.set)
        assert answered(one) + answered(other) == [Delivered()] * 10
        assert peak == 3
        eventually(lambda: shop.executor.room() == 3)

    def test_slow_jobs_hold_up_no_quick_ones(self, runtime: Runtime) -> None:
        release = threading.Event()

        async def quick_or_slow(job: Job) -> None:
            if job.id % 2:
                await asyncio.to_thread(release.wait, 10)

        batch = shop_of(runtime, quick_or_slow).take(*(job(id=n) for n in range(10)))
        eventually(lambda: batch.unanswered == 5)
        assert batch.open() == [1, 3, 5, 7, 9]
        release.set()
        assert answered(batch) == [Delivered()] * 10

    def test_threads_are_made_as_they_are_needed(self, runtime: Runtime) -> None:
        seen: set[str] = set()
        shop = shop_of(runtime, lambda job: seen.add(threading.current_thread().name))
        for n in range(20):
            assert shop.one(job(id=n)) == Delivered()
        assert 1 <= len(seen) <= 3

    def test_where_no_more_threads_are_allowed_jobs_wait(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def start(thread: threading.Thread) -> None:
            if made:
                raise RuntimeError("can't start new thread")
            made.append(thread)
            make(thread)

        made: list[threading.Thread] = []
        make = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", start)
        shop = shop_of(runtime, lambda job: None)
        for _ in range(2):
            assert shop.work(*(job(id=n) for n in range(5))) == [Delivered()] * 5
        assert len(made) == 1
        assert "wait for one of 1" in caplog.text

    def test_a_job_that_was_answered_already_is_not_called(self, runtime: Runtime) -> None:
        called: list[int] = []
        from riverbridge.engine.batch import Batch

        shop = shop_of(runtime, lambda job: called.append(job.id))
        batch = Batch([job(id=1), job(id=2)], float("inf"))
        batch.answer([Cancelled("too old")], 0)
        shop.executor.take(batch)
        assert answered(batch) == [Cancelled("too old"), Delivered()]
        assert called == [2]
