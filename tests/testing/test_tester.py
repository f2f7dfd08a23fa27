"""Jobs worked without a pool: rows, results and the test's transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge import (
    Client,
    EventKind,
    InsertOpts,
    InvalidJob,
    JobNotFound,
    JobState,
    RunningJob,
    UniqueOpts,
    WorkerError,
    Workers,
)
from riverbridge.testing import AsyncJobTester, Drained, JobTester
from tests.support.database import Database
from tests.support.wait import eventually
from tests.testing.shop import After, Mail, Order, Ship, Told, shop

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(tables: Database) -> Iterator[Connection]:
    with tables.connect() as connection:
        yield connection


def states(connection: Connection) -> list[tuple[str, str, int]]:
    rows = connection.execute("SELECT kind, state::text, attempt FROM river_job ORDER BY id")
    return rows.fetchall()


@pytest.mark.parametrize(
    ("to", "event", "state", "attempt", "error"),
    [
        ("ann", EventKind.JOB_COMPLETED, JobState.COMPLETED, 1, None),
        ("later", EventKind.JOB_SNOOZED, JobState.SCHEDULED, 0, None),
        ("nobody", EventKind.JOB_CANCELLED, JobState.CANCELLED, 1, None),
        ("broken", EventKind.JOB_FAILED, JobState.RETRYABLE, 1, ConnectionError),
    ],
)
def test_an_attempt_ends_as_in_a_pool(
    connection: Connection, to: str, event: EventKind, state: JobState, attempt: int, error: Any
) -> None:
    told = Told()
    tester = JobTester(connection, shop(told), retry=After(60))
    result = tester.work(Mail(to), InsertOpts(queue="letters"))
    assert (result.event, result.job.state, result.job.attempt) == (event, state, attempt)
    assert (result.error and type(result.error)) == error
    assert result.job.queue == "letters"
    assert [line.split()[0] for line in told.lines] == ["begin", "end"]
    # It was leased under the tester's name, and is in the table as the result says.
    assert result.job.attempted_by is not None
    assert states(connection) == [("mail", state.value, attempt)]
    if error:
        assert result.job.errors is not None
        assert result.job.errors[0].error == "no mail today"
        assert "raise ConnectionError" in result.job.errors[0].trace
        waited = result.job.scheduled_at - result.job.created_at
        assert 59 < waited.total_seconds() < 70


def test_all_is_done_in_the_open_transaction(connection: Connection, tables: Database) -> None:
    tester = JobTester(connection, shop())
    with tables.connect() as other, connection.transaction(force_rollback=True):
        result = tester.work(Order(7))
        assert result.job.metadata == {"output": {"ordered": 7}}
        # The function's client inserted there too, and so it can be worked there.
        assert tester.drain() == Drained(completed=1)
        assert states(connection) == [("order", "completed", 1), ("ship", "completed", 1)]
        assert states(other) == []
    assert states(connection) == []


def test_functions_see_their_row_running_and_may_complete_it(connection: Connection) -> None:
    workers = Workers()

    @workers.work(Order)
    def order(job: RunningJob[Order]) -> None:
        job.lease()
        assert job.client.job_get_tx(connection, job.id).state is JobState.RUNNING
        job.metadata_set("by", "hand")
        job.client.job_complete_tx(connection, job)

    with connection.transaction():
        result = JobTester(connection, workers).work(Order(7))
    assert result.error is None
    assert result.event is EventKind.JOB_COMPLETED
    assert (result.job.state, result.job.metadata) == (JobState.COMPLETED, {"by": "hand"})


def test_plain_functions_run_in_the_tests_thread_and_context(connection: Connection) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("the test's")
    seen: list[object] = []
    workers = Workers()

    @workers.work(Order)
    def order(job: RunningJob[Order]) -> None:
        seen.extend([threading.current_thread(), variable.get()])

    @workers.work(Mail)
    async def mail(job: RunningJob[Mail]) -> None:
        await asyncio.sleep(0)
        seen.extend([threading.current_thread(), variable.get()])

    tester = JobTester(connection, workers)
    assert tester.work(Order(1)).error is None
    assert tester.work(Mail("ann")).error is None
    assert seen == [threading.current_thread(), "the test's"] * 2


def test_a_job_that_is_there_is_worked_whatever_its_time(connection: Connection) -> None:
    client = Client(connection)
    tester = JobTester(connection, shop())
    job = client.insert(Mail("ann"), InsertOpts(pending=True, queue="letters")).job
    assert tester.work_job(job).job.state is JobState.COMPLETED
    with pytest.raises(WorkerError, match=f"job {job.id} is completed and cannot be worked"):
        tester.work_job(job.id)
    with pytest.raises(JobNotFound):
        tester.work_job(99)


def test_attempts_go_on_and_the_last_one_discards(connection: Connection) -> None:
    tester = JobTester(connection, shop())
    first = tester.work(Mail("broken"), InsertOpts(max_attempts=2))
    second = tester.work_job(first.job)
    assert [first.job.attempt, second.job.attempt] == [1, 2]
    assert (second.event, second.job.state) == (EventKind.JOB_FAILED, JobState.DISCARDED)
    assert "error=ConnectionError('no mail today')" in repr(second)


def test_a_tested_job_is_not_unique(connection: Connection) -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    tester = JobTester(connection, shop())
    assert tester.work(Mail("ann"), opts).job.id != tester.work(Mail("ann"), opts).job.id


def test_what_is_wrong_is_refused_before_anything_is_inserted(connection: Connection) -> None:
    tester = JobTester(connection, shop())
    with pytest.raises(InvalidJob, match="priority"):
        tester.work(Mail("ann"), InsertOpts(priority=9))
    assert states(connection) == []


def test_an_unknown_kind_fails_as_rivers(connection: Connection) -> None:
    result = JobTester(connection, Workers()).work(Mail("ann"))
    assert "job kind is not registered" in str(result.error)
    assert JobTester(connection, Workers()).drain() == Drained()


def test_the_error_handler_and_the_timeout_count(connection: Connection) -> None:
    workers = Workers()

    @workers.work(Order)
    async def order(job: RunningJob[Order]) -> None:
        await asyncio.sleep(60)

    seen: list[object] = []

    def handler(job: RunningJob[Any], error: BaseException) -> bool:
        seen.append(error)
        return True

    tester = JobTester(connection, workers, job_timeout=0.05, error_handler=handler)
    result = tester.work(Order(1))
    assert (result.event, result.job.state) == (EventKind.JOB_CANCELLED, JobState.CANCELLED)
    assert [str(error) for error in seen] == ["context deadline exceeded"]


def test_what_is_no_exception_is_raised_in_the_test(connection: Connection) -> None:
    workers = Workers()

    @workers.work(Order)
    def order(job: RunningJob[Order]) -> None:
        if job.args.id == 1:
            pytest.fail("seen by the test")
        raise KeyboardInterrupt

    tester = JobTester(connection, workers)
    with pytest.raises(pytest.fail.Exception, match="seen by the test"):
        tester.work(Order(1))
    with pytest.raises(KeyboardInterrupt):
        tester.work(Order(2))
    assert [state for _, state, _ in states(connection)] == ["available", "available"]


def test_drain_counts_each_job_once(connection: Connection) -> None:
    client = Client(connection)
    for to in ("ann", "later", "nobody", "broken", "bob"):
        client.insert(Mail(to))
    client.insert(Mail("broken"), InsertOpts(max_attempts=1))
    client.insert(Mail("elsewhere"), InsertOpts(queue="other"))
    drained = JobTester(connection, shop(), retry=After(0)).drain()
    assert drained == Drained(completed=2, failed=1, discarded=1, cancelled=1, snoozed=1)
    assert [result.job.args["to"] for result in drained.results] == [
        "ann", "later", "nobody", "broken", "bob", "broken",
    ]  # fmt: skip
    assert states(connection)[-1] == ("mail", "available", 0)


def test_drain_goes_by_priority_and_works_what_jobs_insert(connection: Connection) -> None:
    client = Client(connection)
    client.insert(Ship(-1), InsertOpts(priority=4))
    client.insert_many([Order(1), Order(2)])
    drained = JobTester(connection, shop()).drain()
    assert drained == Drained(completed=4, failed=1)
    kinds = [result.job.kind for result in drained.results]
    # The first claim has them all, and the next one those that the orders inserted, in one call.
    assert kinds == ["order", "order", "ship", "ship", "ship"]
    assert [result.job.metadata.get("together") for result in drained.results[2:]] == [1, 2, 2]


def test_drain_stops_at_its_limit(connection: Connection) -> None:
    Client(connection).insert_many([Mail("ann")] * 5)
    tester = JobTester(connection, shop())
    assert tester.drain(limit=2) == Drained(completed=2)
    assert tester.drain(limit=0) == Drained()
    assert tester.drain() == Drained(completed=3)


def test_drain_with_scheduled_goes_by_their_times(connection: Connection) -> None:
    client, now = Client(connection), datetime.now(UTC)
    for hours, to in ((3, "later"), (2, "broken"), (1, "ann"), (-1, "due")):
        client.insert(Mail(to), InsertOpts(scheduled_at=now + timedelta(hours=hours)))
    client.insert(Mail("waits"), InsertOpts(pending=True))
    tester = JobTester(connection, shop())
    assert tester.drain() == Drained(completed=1)
    drained = tester.drain(with_scheduled=True)
    assert drained == Drained(completed=1, failed=1, snoozed=1)
    assert [result.job.args["to"] for result in drained.results] == ["ann", "broken", "later"]


def test_hundreds_of_jobs_do_not_go_deeper_and_deeper(connection: Connection) -> None:
    Client(connection).insert_many([Mail("ann")] * 400)
    assert JobTester(connection, shop()).drain() == Drained(completed=400)


def test_a_tester_in_an_event_loop_says_which_one_to_use(connection: Connection) -> None:
    async def scenario() -> None:
        JobTester(connection, shop()).work(Mail("ann"))

    with pytest.raises(WorkerError, match="use AsyncJobTester"):
        asyncio.run(scenario())
    assert states(connection) == []


def test_another_process_cannot_take_what_is_worked(
    connection: Connection, tables: Database
) -> None:
    began, go_on = threading.Event(), threading.Event()
    workers = Workers()

    @workers.work(Order)
    def order(job: RunningJob[Order]) -> None:
        began.set()
        assert go_on.wait(10)

    results: list[Any] = []
    tester = JobTester(connection, workers)
    thread = threading.Thread(target=lambda: results.append(tester.work(Order(1))))
    thread.start()
    try:
        eventually(began.is_set)
        with tables.connect() as other:
            assert JobTester(other, workers).drain() == Drained()
    finally:
        go_on.set()
        thread.join(10)
    assert results[0].event is EventKind.JOB_COMPLETED


def test_a_cancel_while_it_runs_ends_it_as_cancelled(connection: Connection) -> None:
    workers = Workers()

    @workers.work(Order)
    def order(job: RunningJob[Order]) -> None:
        job.client.job_cancel(job.id)
        raise ConnectionError

    result = JobTester(connection, workers, retry=After(60)).work(Order(1))
    assert (result.event, result.job.state) == (EventKind.JOB_CANCELLED, JobState.CANCELLED)


def test_async_functions_run_in_the_tests_loop_and_transaction(tables: Database) -> None:
    loops: list[object] = []
    workers = Workers()

    async def scenario() -> None:
        dsn = tables.dsn
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:

            @workers.work(Order)
            async def order(job: RunningJob[Order]) -> None:
                loops.append(asyncio.get_running_loop())
                await job.lease()
                await job.client.insert(Mail("ann"))
                cursor = await connection.execute("SELECT count(*) FROM river_job")
                job.record_output((await cursor.fetchone() or [0])[0])

            async with connection.transaction(force_rollback=True):
                result = await AsyncJobTester(connection, workers).work(Order(1))
                assert result.job.metadata == {"output": 2}
            assert loops == [asyncio.get_running_loop()]
            cursor = await connection.execute("SELECT count(*) FROM river_job")
            assert await cursor.fetchone() == (0,)

    asyncio.run(scenario())


def test_a_test_that_is_cancelled_ends_its_job(tables: Database) -> None:
    ended: list[str] = []
    workers = Workers()

    @workers.work(Order)
    async def order(job: RunningJob[Order]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    async def scenario() -> None:
        tester = AsyncJobTester(tables.dsn, workers)
        try:
            async with asyncio.timeout(0.3):
                await tester.work(Order(1))
        finally:
            await tester.close()

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())
    assert ended == ["ended"]
