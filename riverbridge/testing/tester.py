"""Jobs worked without a pool, in the transaction of a test or on its database.

A job is leased, its function runs as in a pool (hooks, middleware, timeout, retry policy), and the
row is settled: in the transaction that is open on the connection, or else each in one of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

import msgspec

from riverbridge.errors import WorkerError
from riverbridge.model.globs import to_like
from riverbridge.model.job import Job, JobState
from riverbridge.model.options import QUEUE_DEFAULT, InsertOpts, new_job
from riverbridge.model.outcome import Outcome
from riverbridge.model.retry import RetryPolicy, RiverRetry
from riverbridge.model.settlement import Lease, released, settlement
from riverbridge.store import working
from riverbridge.store.administration import job_get, job_list
from riverbridge.store.exchange import Exchange
from riverbridge.store.insert import insert_many
from riverbridge.testing.inline import check_no_loop, work_here, work_in_loop
from riverbridge.testing.link import AsyncJoiningClient, AsyncLink, JoiningClient, Link
from riverbridge.testing.outcome import Drained, WorkResult, counted
from riverbridge.worker.events import kind_of_event
from riverbridge.worker.executor import TIMEOUT, Executor, QueueConfig
from riverbridge.worker.job import RunningJob
from riverbridge.worker.registry import Workers
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.verdict import ErrorHandler

T = TypeVar("T")

CLAIMED = 100
"""Jobs that a drain claims at a time: what a function of many jobs may get in one call."""

Step: TypeAlias = Exchange[Any] | list[Lease]
"""To be carried out, or to be worked."""

Steps: TypeAlias = Generator[Step, Any, T]


class TesterOptions(TypedDict, total=False):
    """How a tester works, as a pool would.

    schema: where River's tables are. client: what jobs see as theirs; unless given, one on the
    tester's connection, which inserts into the test's transaction while that is open. job_timeout:
    seconds, 60 by default. retry: for kinds without a policy of their own. error_handler: as a
    pool's.
    """

    schema: str | None
    client: object
    job_timeout: float | None
    retry: RetryPolicy
    error_handler: ErrorHandler | None


class _Tester:
    """All but the carrying out."""

    def __init__(self, workers: Workers, options: TesterOptions, client: object) -> None:
        self._workers = workers
        self._schema = options.get("schema")
        self._client = options.get("client", client)
        self._timeout = options.get("job_timeout", TIMEOUT)
        self._retry = options.get("retry", RiverRetry())
        self._handler = options.get("error_handler")
        self._owner = f"riverbridge_test_{os.getpid()}"
        self._errors: dict[int, BaseException] = {}

    def _hire(self, runtime: Runtime) -> Executor:
        """One job at a time, in order, but for those that go into one call."""
        return Executor(
            self._workers,
            runtime,
            QueueConfig(1),
            timeout=self._timeout,
            error_handler=self._failed,
            client=self._client,
        )

    def _failed(self, job: RunningJob[Any], error: BaseException) -> object:
        self._errors[job.id] = error
        return None if self._handler is None else self._handler(job, error)

    def _work(self, args: object, opts: InsertOpts | None) -> Steps[WorkResult]:
        new = msgspec.structs.replace(new_job(args, opts), unique_key=None, unique_states=None)
        [inserted] = yield insert_many([new], queues=(), schema=self._schema)
        return (yield from self._work_job(inserted.job))

    def _work_job(self, job: Job | int) -> Steps[WorkResult]:
        id = job.id if isinstance(job, Job) else job
        lease = yield working.take(id, owner=self._owner, schema=self._schema)
        if lease is None:
            found: Job = yield job_get(id, schema=self._schema)
            raise WorkerError(
                f"job {id} is {found.state} and cannot be worked: give one that waits, or retry it "
                "first"
            )
        [result] = yield from self._worked([lease])
        return result

    def _drain(self, queue: str, limit: int | None, with_scheduled: bool) -> Steps[Drained]:
        results: list[WorkResult] = []
        seen: list[int] = []
        while limit is None or len(seen) < limit:
            most = CLAIMED if limit is None else min(CLAIMED, limit - len(seen))
            leases = yield working.claim(
                queue=queue,
                kinds=[to_like(kind) for kind in self._workers.kinds()],
                aside=seen,
                limit=most,
                owner=self._owner,
                schema=self._schema,
            )
            if not leases and with_scheduled:
                leases = yield from self._next_scheduled(queue, seen)
            if not leases:
                break
            seen += [lease.job.id for lease in leases]
            results += yield from self._worked(leases)
        return counted(results)

    def _next_scheduled(self, queue: str, seen: Sequence[int]) -> Steps[list[Lease]]:
        """The job whose time comes first, of those that have not been worked here yet."""
        states = (JobState.AVAILABLE, JobState.RETRYABLE, JobState.SCHEDULED)
        page = yield job_list(
            queues=[queue],
            kinds=self._workers.kinds(),
            states=states,
            order_by="scheduled_at",
            limit=working.SCHEDULED_MAX,
            schema=self._schema,
        )
        for job in page.jobs:
            if job.id not in seen:
                lease = yield working.take(job.id, owner=self._owner, schema=self._schema)
                if lease is not None:
                    return [lease]
        return []

    def _worked(self, leases: list[Lease]) -> Steps[list[WorkResult]]:
        self._errors.clear()
        outcomes: list[Outcome] = yield leases
        rows = []
        for lease, outcome in zip(leases, outcomes, strict=True):
            row = settlement(lease.job, outcome, retry=self._retry)
            rows.append((lease, released(lease.job) if row is None else row))
        jobs: list[Job] = yield working.settle(rows, schema=self._schema)
        for error in self._errors.values():
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise error  # such as pytest.fail's, or Ctrl-C: no matter of the job's
        return [self._result(outcome, job) for outcome, job in zip(outcomes, jobs, strict=True)]

    def _result(self, outcome: Outcome, job: Job) -> WorkResult:
        event = kind_of_event(outcome, job.state)
        assert event is not None  # only a sink's outcomes have none
        done = job.state is JobState.COMPLETED  # perhaps by the function itself, which failed then
        return WorkResult(event, job, None if done else self._errors.get(job.id))


class JobTester(_Tester):
    """Works jobs with the functions of `workers`, in a synchronous test.

    connection: any that a `Client` takes, and what it takes as `tx`. While a transaction is open on
    it, all is done in that one. Functions run in this thread, async ones in an event loop of each
    call's own. What a function raises that is no Exception, as `pytest.fail` does, is raised here.
    """

    def __init__(
        self, connection: object, workers: Workers, **options: Unpack[TesterOptions]
    ) -> None:
        """Open nothing yet. Raises ClientError for a connection that cannot work."""
        self._link = Link(connection)
        client = JoiningClient(connection, self._link, schema=options.get("schema"))
        super().__init__(workers, options, client)

    def work(self, args: object, opts: InsertOpts | None = None) -> WorkResult:
        """Insert a job and work it at once, whatever its time. It is not unique.

        Raises InvalidJob.
        """
        return self._carry_out(self._work(args, opts))

    def work_job(self, job: Job | int) -> WorkResult:
        """Work a job that is in the table, or the one with this id, whatever its time.

        Raises JobNotFound, and WorkerError for one that is at work or has ended.
        """
        return self._carry_out(self._work_job(job))

    def drain(
        self,
        *,
        queue: str = QUEUE_DEFAULT,
        limit: int | None = None,
        with_scheduled: bool = False,
    ) -> Drained:
        """Work all jobs of `queue` that are due, and those that they insert; each of them once.

        limit: how many at most. with_scheduled: those too whose time has not come, in its order.
        Kinds without a function are left alone, as a pool leaves them to others.
        """
        return self._carry_out(self._drain(queue, limit, with_scheduled))

    def close(self) -> None:
        """Close what was opened to a DSN."""
        self._link.close()

    def _carry_out(self, steps: Steps[T]) -> T:
        check_no_loop()
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, list):
                    answer = work_here([lease.job for lease in step], self._hire)
                else:
                    answer = self._link.perform(step, working.STATEMENTS)
        except StopIteration as end:
            result: T = end.value
            return result


class AsyncJobTester(_Tester):
    """As `JobTester`, awaited.

    connection: any that an `AsyncClient` takes, and what it takes as `tx`. Async functions run in
    the test's event loop, plain ones in threads.
    """

    def __init__(
        self, connection: object, workers: Workers, **options: Unpack[TesterOptions]
    ) -> None:
        """Open nothing yet. Raises ClientError for a connection that cannot work."""
        self._link = AsyncLink(connection)
        client = AsyncJoiningClient(connection, self._link, schema=options.get("schema"))
        super().__init__(workers, options, client)

    async def work(self, args: object, opts: InsertOpts | None = None) -> WorkResult:
        """As JobTester.work."""
        return await self._carry_out(self._work(args, opts))

    async def work_job(self, job: Job | int) -> WorkResult:
        """As JobTester.work_job."""
        return await self._carry_out(self._work_job(job))

    async def drain(
        self,
        *,
        queue: str = QUEUE_DEFAULT,
        limit: int | None = None,
        with_scheduled: bool = False,
    ) -> Drained:
        """As JobTester.drain."""
        return await self._carry_out(self._drain(queue, limit, with_scheduled))

    async def close(self) -> None:
        """Close what was opened to a DSN."""
        await self._link.close()

    async def _carry_out(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, list):
                    answer = await work_in_loop([lease.job for lease in step], self._hire)
                else:
                    answer = await self._link.perform(step, working.STATEMENTS)
        except StopIteration as end:
            result: T = end.value
            return result
