"""What a job function sees of its job, and what it leaves in the row."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import pytest

from riverbridge.errors import InvalidJob, JobLost, WorkerError
from riverbridge.model.job import JobState
from riverbridge.model.outcome import Cancelled, Completed, Delivered, Interrupted, Retry, Snoozed
from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob, current_job
from riverbridge.worker.job_log import ATTEMPT_BYTES_MAX, TOTAL_BYTES_MAX
from riverbridge.worker.log_handler import JobLogHandler
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.wait import eventually
from tests.support.worker import KIND, answered, notes, shop_of

Job = RunningJob[dict[str, Any]]
DUE = datetime(2026, 1, 2, tzinfo=UTC)
MEBIBYTE = 1 << 20


def test_a_job_is_its_row_at_this_attempt(runtime: Runtime) -> None:
    client = object()
    jobs: list[Job] = []
    row = job(
        id=7, attempt=2, max_attempts=9, failures=1, queue="slow", priority=3, tags="a,b",
        metadata='{"from": "web"}', created_at=DUE, scheduled_at=DUE,
    )  # fmt: skip
    assert shop_of(runtime, jobs.append, client=client).one(row) == Delivered()
    (seen,) = jobs
    assert (seen.id, seen.kind, seen.queue, seen.priority) == (7, KIND, "slow", 3)
    assert (seen.state, seen.attempt, seen.max_attempts) == (JobState.RUNNING, 3, 9)
    assert (seen.failures, seen.tags, seen.metadata) == (1, ["a", "b"], {"from": "web"})
    assert (seen.created_at, seen.scheduled_at) == (DUE, DUE)
    assert (seen.args, seen.encoded_args) == ({"a": 1}, '{"a": 1}')
    assert seen.client is client
    assert repr(seen) == f"RunningJob(id=7, kind={KIND!r}, attempt=3)"
    with pytest.raises(WorkerError, match="job 7 is over"):
        seen.lease()
    shop_of(runtime, jobs.append).one(job())
    assert jobs[1].tags == []


def test_the_current_job_is_known_to_all_that_its_function_calls(runtime: Runtime) -> None:
    async def in_loop(job: Job) -> None:
        await asyncio.sleep(0)
        assert current_job() is job
        assert await asyncio.to_thread(current_job) is job
        assert await asyncio.create_task(seen()) is job

    async def seen() -> Job:
        return current_job()

    def in_thread(job: Job) -> None:
        assert current_job() is job

    for function in (in_loop, in_thread):
        rows = [job(id=n) for n in range(50)]
        assert shop_of(runtime, function).work(*rows) == [Delivered()] * 50
    with pytest.raises(WorkerError, match="there is no job here"):
        current_job()


mine: ContextVar[int] = ContextVar("mine", default=0)


@pytest.mark.parametrize("is_async", [False, True])
def test_context_variables_do_not_pass_from_job_to_job(runtime: Runtime, is_async: bool) -> None:
    def plain(job: Job) -> None:
        assert mine.get() == 0
        mine.set(job.id)

    async def in_loop(job: Job) -> None:
        plain(job)
        await asyncio.sleep(0)

    # One slot: each job begins where another one has just ended.
    shop = shop_of(runtime, in_loop if is_async else plain, max_workers=1)
    assert shop.work(*(job(id=n) for n in range(1, 6))) == [Delivered()] * 5


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (None, Completed),
        (RuntimeError("x"), Retry),
        (JobSnooze(1), Snoozed),
        (JobCancel("x"), Cancelled),
        (asyncio.CancelledError(), Interrupted),
    ],
)
def test_what_is_recorded_is_kept_whatever_comes_of_it(
    runtime: Runtime, ending: BaseException | None, outcome: type[Any]
) -> None:
    def records(job: Job) -> None:
        if isinstance(ending, asyncio.CancelledError):
            shop.executor.interrupt()
        job.metadata_set("who", "me")
        job.metadata_set("who", ["you", None, 1.5, {"ä": "語"}])
        job.record_output({"total": 3})
        current_job().record_output(4)
        if ending is not None:
            raise ending

    shop = shop_of(runtime, records)
    found = shop.one()
    assert isinstance(found, outcome)
    assert notes(found) == {"who": ["you", None, 1.5, {"ä": "語"}], "output": 4}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("river:log", 1, "those with 'river:' are River's own"),
        ("a", {1, object()}, "'a': has no form in JSON"),
        ("a", float("nan"), "'a': has no form in JSON"),
        ("a", "\x00", "holds a NUL"),
        ("a", "\ud800", "half a surrogate pair"),
        ("a\x00", 1, "holds a NUL"),
        ("output", "x" * (32 * MEBIBYTE - 1), "output: 33554433 bytes of JSON; at most 33554432"),
    ],
    ids=range(7),
)
def test_what_no_row_can_hold_is_refused_where_it_is_recorded(
    runtime: Runtime, key: str, value: object, message: str
) -> None:
    def records(job: Job) -> None:
        output = key == "output"
        with pytest.raises(InvalidJob) as refused:
            job.record_output(value) if output else job.metadata_set(key, value)
        assert message in str(refused.value)

    assert shop_of(runtime, records).one() == Delivered()


def test_what_was_recorded_can_be_handed_over(runtime: Runtime) -> None:
    def completes(job: Job) -> None:
        assert job.hand_over() == "{}"
        job.record_output(1)
        job.log("so far")
        assert json.loads(job.hand_over()) == {
            "output": 1,
            "river:log": [{"attempt": 1, "log": "so far\n"}],
        }

    assert isinstance(shop_of(runtime, completes).one(), Completed)


class TestLog:
    """`river:log`, which River UI shows."""

    @pytest.fixture(autouse=True)
    def logger(self) -> Iterator[logging.Logger]:
        logger = logging.getLogger("shop")
        handler = JobLogHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        yield logger
        logger.removeHandler(handler)
        logger.propagate = True

    def test_lines_go_to_the_job_that_logs(self, runtime: Runtime, logger: logging.Logger) -> None:
        async def logs(job: Job) -> None:
            logger.info("job %d begins", job.id)
            await asyncio.sleep(0)
            await asyncio.to_thread(logger.warning, "job %d ends", job.id)
            if job.id == 2:
                raise RuntimeError("x")

        logger.info("nobody's")
        outcomes = shop_of(runtime, logs).work(job(id=1), job(id=2, attempt=4))
        assert [notes(outcome)["river:log"] for outcome in outcomes] == [
            [{"attempt": 1, "log": "INFO job 1 begins\nWARNING job 1 ends\n"}],
            [{"attempt": 5, "log": "INFO job 2 begins\nWARNING job 2 ends\n"}],
        ]

    def test_earlier_attempts_stay(self, runtime: Runtime, logger: logging.Logger) -> None:
        before = {"river:log": [{"attempt": 1, "log": "x"}, {"odd": [1, 2]}], "other": 1}
        shop = shop_of(runtime, lambda job: logger.info("again"))
        outcome = shop.one(job(attempt=1, metadata=json.dumps(before)))
        assert notes(outcome) == {
            "river:log": [*before["river:log"], {"attempt": 2, "log": "INFO again\n"}]  # type: ignore[misc]
        }

    @pytest.mark.parametrize("held", ['"text"', "null", "{}"])
    def test_what_is_no_log_is_left_alone(
        self,
        runtime: Runtime,
        logger: logging.Logger,
        held: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        shop = shop_of(runtime, lambda job: logger.info("x"))
        outcome = shop.one(job(metadata=f'{{"river:log": {held}}}'))
        assert outcome == Completed("{}") or outcome == Delivered()
        assert "a job's log is lost" in caplog.text

    def test_it_is_bounded_by_attempt_and_in_all(self, runtime: Runtime) -> None:
        entry = {"attempt": 1, "log": "x" * (2 * MEBIBYTE - 100)}
        before = json.dumps({"river:log": [{**entry, "attempt": n} for n in range(5)]})

        def logs(job: Job) -> None:
            job.log("语" * MEBIBYTE)
            for _ in range(100):
                job.log("more")

        log = notes(shop_of(runtime, logs).one(job(attempt=5, metadata=before)))["river:log"]
        assert [each["attempt"] for each in log] == [2, 3, 4, 6], "the oldest ones are dropped"
        assert len(log[-1]["log"].encode()) <= ATTEMPT_BYTES_MAX
        assert log[-1]["log"].endswith(" … (cut)")
        assert len(json.dumps(log, ensure_ascii=False).encode()) <= TOTAL_BYTES_MAX

    @pytest.mark.parametrize("text", ["\x00", "\ud800"])
    def test_it_is_text_that_a_row_can_hold(self, runtime: Runtime, text: str) -> None:
        outcome = shop_of(runtime, lambda job: job.log(text)).one()
        assert isinstance(outcome, Completed)
        assert "\\u0000" not in outcome.metadata.replace("\\\\", "")
        outcome.metadata.encode()

    def test_a_line_that_cannot_be_formatted_is_no_harm(
        self, runtime: Runtime, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logger.propagate = False  # pytest's own handler would raise
        shop = shop_of(runtime, lambda job: logger.info("%d", "x"))
        assert shop.one() == Delivered()
        assert "--- Logging error ---" in capsys.readouterr().err


class TestLease:
    """A row of its own, while its function runs."""

    @pytest.mark.parametrize("is_async", [False, True])
    def test_it_waits_for_the_lane(self, runtime: Runtime, is_async: bool) -> None:
        asked, had = threading.Event(), threading.Event()

        def plain(job: Job) -> None:
            asked.set()
            job.lease()
            had.set()

        async def in_loop(job: Job) -> None:
            asked.set()
            await job.lease()
            had.set()
            await job.lease()  # which it has

        batch = shop_of(runtime, in_loop if is_async else plain).take()
        assert asked.wait(10)
        assert not batch.wait(10), "the lane is told at once"
        assert not had.wait(0.05)
        batch.leased()
        assert had.wait(10)
        assert answered(batch) == [Delivered()]

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_lost_job_gets_none(self, runtime: Runtime, is_async: bool) -> None:
        asked = threading.Event()
        errors: list[BaseException] = []

        def plain(job: Job) -> None:
            asked.set()
            try:
                job.lease()
            except JobLost as error:
                errors.append(error)

        async def in_loop(job: Job) -> None:
            asked.set()
            try:
                await job.lease()
            except (JobLost, asyncio.CancelledError) as error:
                errors.append(error)

        shop = shop_of(runtime, in_loop if is_async else plain)
        batch = shop.take()
        assert asked.wait(10)
        batch.abandon()
        eventually(lambda: shop.executor.room() == 100)
        assert len(errors) == 1

    def test_a_thread_of_an_async_job_blocks(self, runtime: Runtime) -> None:
        async def helped(job: Job) -> None:
            await asyncio.to_thread(job.lease)

        batch = shop_of(runtime, helped).take()
        assert not batch.wait(10)
        batch.leased()
        assert answered(batch) == [Delivered()]
