"""The clients' methods for looking at jobs and queues and changing them, as River's Go client has.

Each has a twin `…_tx` that does the same in the transaction open on `tx`, and takes effect when the
caller commits it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, Unpack

from riverbridge.model.job import Job
from riverbridge.model.job_filter import JobFilter
from riverbridge.model.job_order import OrderBy
from riverbridge.model.queue import Queue
from riverbridge.store import administration as store
from riverbridge.store.administration import LIMIT, JobListResult
from riverbridge.store.exchange import Exchange

T = TypeVar("T")


class JobListParams(JobFilter, total=False):
    """Filters, order and page of a list of jobs.

    order_by: `id` unless given, `scheduled_at`, `finalized_at` (of finished jobs, the only ones
    listed then) or `time`: the instant that goes with the first of `states`. Ties go by id.
    descending: False unless given. limit: 1 to 10000, 100 unless given. after: the `last_cursor` of
    a page; a Go client's cursor as text is good too.
    """

    order_by: OrderBy
    descending: bool
    limit: int
    after: str | None


class JobDeleteManyParams(JobFilter, total=False):
    """Filters of the jobs to delete.

    limit: 1 to 10000, 100 unless given. unsafe_all: every job, without filters.
    """

    limit: int
    unsafe_all: bool


class JobAtWork(Protocol):
    """A job whose function is running: what a `RunningJob` is to a client."""

    @property
    def id(self) -> int: ...

    @property
    def attempt(self) -> int: ...

    def hand_over(self) -> str:
        """The text of the metadata recorded so far; the function settles the row itself now."""
        ...


class JobAdministration(ABC):
    """Administration with a synchronous client."""

    _schema: str | None

    @abstractmethod
    def _perform(self, exchange: Exchange[T], *, statements: int = 2) -> T: ...

    @abstractmethod
    def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T: ...

    def job_get(self, id: int) -> Job:
        """The job. Raises JobNotFound."""
        return self._perform(store.job_get(id, schema=self._schema), statements=1)

    def job_get_tx(self, tx: object, id: int) -> Job:
        return self._perform_tx(tx, store.job_get(id, schema=self._schema))

    def job_list(self, **params: Unpack[JobListParams]) -> JobListResult:
        """A page of the jobs that match all that is given; see `JobListParams`.

        Give the page's `last_cursor` as `after`, with everything else alike, for the one that
        follows. Raises InvalidRequest.
        """
        return self._perform(store.job_list(schema=self._schema, **params), statements=1)

    def job_list_tx(self, tx: object, **params: Unpack[JobListParams]) -> JobListResult:
        return self._perform_tx(tx, store.job_list(schema=self._schema, **params))

    def job_cancel(self, id: int) -> Job:
        """Cancel the job; the job as it stands afterwards.

        A running one stays running until its worker, which is told, has given up; then it is
        cancelled instead of tried again. A finished one stays as it is. Raises JobNotFound.
        """
        return self._perform(store.job_cancel(id, schema=self._schema), statements=1)

    def job_cancel_tx(self, tx: object, id: int) -> Job:
        return self._perform_tx(tx, store.job_cancel(id, schema=self._schema))

    def job_retry(self, id: int) -> Job:
        """Make the job available now, with one more attempt if none is left.

        A running job, and one that is available and due, stay as they are. Raises JobNotFound;
        JobConflict if another job has its unique key.
        """
        return self._perform(store.job_retry(id, schema=self._schema), statements=1)

    def job_retry_tx(self, tx: object, id: int) -> Job:
        return self._perform_tx(tx, store.job_retry(id, schema=self._schema))

    def job_delete(self, id: int) -> Job:
        """Delete the job; the job as it was. Raises JobNotFound and JobRunning."""
        return self._perform(store.job_delete(id, schema=self._schema), statements=1)

    def job_delete_tx(self, tx: object, id: int) -> Job:
        return self._perform_tx(tx, store.job_delete(id, schema=self._schema))

    def job_delete_many(self, **params: Unpack[JobDeleteManyParams]) -> list[Job]:
        """Delete the first jobs by id that match all that is given; the jobs as they were.

        Running jobs, and those that somebody has in work, are left out. Raises InvalidRequest, also
        where no filter is given: `unsafe_all=True` says that every job is meant.
        """
        return self._perform(store.job_delete_many(schema=self._schema, **params))

    def job_delete_many_tx(self, tx: object, **params: Unpack[JobDeleteManyParams]) -> list[Job]:
        return self._perform_tx(tx, store.job_delete_many(schema=self._schema, **params))

    def job_complete_tx(self, tx: object, job: JobAtWork) -> Job:
        """Complete the job of the function that calls this, with the caller's own changes or not
        at all (contract 10). What it recorded so far goes into its row too.

        Give the job a row of its own first, by its `lease()`: until then it reads `available`.
        Raises JobLost if it is not at work in this attempt: then the caller must roll back.
        """
        return self._perform_tx(tx, _completing(job, self._schema))

    def job_update(self, id: int, *, output: object) -> Job:
        """Record the job's output, at most 32 MiB as JSON, under `output` in its metadata.

        Raises JobNotFound and InvalidRequest.
        """
        return self._perform(store.job_update(id, output=output, schema=self._schema), statements=1)

    def job_update_tx(self, tx: object, id: int, *, output: object) -> Job:
        return self._perform_tx(tx, store.job_update(id, output=output, schema=self._schema))

    def queue_get(self, name: str) -> Queue:
        """The queue. Raises QueueNotFound."""
        return self._perform(store.queue_get(name, schema=self._schema), statements=1)

    def queue_get_tx(self, tx: object, name: str) -> Queue:
        return self._perform_tx(tx, store.queue_get(name, schema=self._schema))

    def queue_list(self, *, limit: int = LIMIT) -> list[Queue]:
        """The queues that workers have reported within a day, by name. limit: 1 to 10000."""
        return self._perform(store.queue_list(limit=limit, schema=self._schema), statements=1)

    def queue_list_tx(self, tx: object, *, limit: int = LIMIT) -> list[Queue]:
        return self._perform_tx(tx, store.queue_list(limit=limit, schema=self._schema))

    def queue_pause(self, name: str) -> None:
        """Stop workers from taking jobs of a queue, or of all for `*`. Raises QueueNotFound."""
        return self._perform(store.queue_pause(name, schema=self._schema))

    def queue_pause_tx(self, tx: object, name: str) -> None:
        return self._perform_tx(tx, store.queue_pause(name, schema=self._schema))

    def queue_resume(self, name: str) -> None:
        """Let workers take jobs of a queue, or of all for `*`, again. Raises QueueNotFound."""
        return self._perform(store.queue_resume(name, schema=self._schema))

    def queue_resume_tx(self, tx: object, name: str) -> None:
        return self._perform_tx(tx, store.queue_resume(name, schema=self._schema))

    def queue_update(self, name: str, *, metadata: Mapping[str, Any]) -> Queue:
        """Put `metadata` in place of the queue's and tell its workers.

        The notification holds somewhat less than 8000 bytes. Raises QueueNotFound, InvalidRequest.
        """
        return self._perform(store.queue_update(name, metadata=metadata, schema=self._schema))

    def queue_update_tx(self, tx: object, name: str, *, metadata: Mapping[str, Any]) -> Queue:
        return self._perform_tx(
            tx, store.queue_update(name, metadata=metadata, schema=self._schema)
        )


class AsyncJobAdministration(ABC):
    """As `JobAdministration`, awaited; each method does and raises what its twin does."""

    _schema: str | None

    @abstractmethod
    async def _perform(self, exchange: Exchange[T], *, statements: int = 2) -> T: ...

    @abstractmethod
    async def _perform_tx(self, tx: object, exchange: Exchange[T]) -> T: ...

    async def job_get(self, id: int) -> Job:
        return await self._perform(store.job_get(id, schema=self._schema), statements=1)

    async def job_get_tx(self, tx: object, id: int) -> Job:
        return await self._perform_tx(tx, store.job_get(id, schema=self._schema))

    async def job_list(self, **params: Unpack[JobListParams]) -> JobListResult:
        return await self._perform(store.job_list(schema=self._schema, **params), statements=1)

    async def job_list_tx(self, tx: object, **params: Unpack[JobListParams]) -> JobListResult:
        return await self._perform_tx(tx, store.job_list(schema=self._schema, **params))

    async def job_cancel(self, id: int) -> Job:
        return await self._perform(store.job_cancel(id, schema=self._schema), statements=1)

    async def job_cancel_tx(self, tx: object, id: int) -> Job:
        return await self._perform_tx(tx, store.job_cancel(id, schema=self._schema))

    async def job_retry(self, id: int) -> Job:
        return await self._perform(store.job_retry(id, schema=self._schema), statements=1)

    async def job_retry_tx(self, tx: object, id: int) -> Job:
        return await self._perform_tx(tx, store.job_retry(id, schema=self._schema))

    async def job_delete(self, id: int) -> Job:
        return await self._perform(store.job_delete(id, schema=self._schema), statements=1)

    async def job_delete_tx(self, tx: object, id: int) -> Job:
        return await self._perform_tx(tx, store.job_delete(id, schema=self._schema))

    async def job_delete_many(self, **params: Unpack[JobDeleteManyParams]) -> list[Job]:
        return await self._perform(store.job_delete_many(schema=self._schema, **params))

    async def job_delete_many_tx(
        self, tx: object, **params: Unpack[JobDeleteManyParams]
    ) -> list[Job]:
        return await self._perform_tx(tx, store.job_delete_many(schema=self._schema, **params))

    async def job_complete_tx(self, tx: object, job: JobAtWork) -> Job:
        """As JobAdministration.job_complete_tx."""
        return await self._perform_tx(tx, _completing(job, self._schema))

    async def job_update(self, id: int, *, output: object) -> Job:
        return await self._perform(
            store.job_update(id, output=output, schema=self._schema), statements=1
        )

    async def job_update_tx(self, tx: object, id: int, *, output: object) -> Job:
        return await self._perform_tx(tx, store.job_update(id, output=output, schema=self._schema))

    async def queue_get(self, name: str) -> Queue:
        return await self._perform(store.queue_get(name, schema=self._schema), statements=1)

    async def queue_get_tx(self, tx: object, name: str) -> Queue:
        return await self._perform_tx(tx, store.queue_get(name, schema=self._schema))

    async def queue_list(self, *, limit: int = LIMIT) -> list[Queue]:
        return await self._perform(store.queue_list(limit=limit, schema=self._schema), statements=1)

    async def queue_list_tx(self, tx: object, *, limit: int = LIMIT) -> list[Queue]:
        return await self._perform_tx(tx, store.queue_list(limit=limit, schema=self._schema))

    async def queue_pause(self, name: str) -> None:
        return await self._perform(store.queue_pause(name, schema=self._schema))

    async def queue_pause_tx(self, tx: object, name: str) -> None:
        return await self._perform_tx(tx, store.queue_pause(name, schema=self._schema))

    async def queue_resume(self, name: str) -> None:
        return await self._perform(store.queue_resume(name, schema=self._schema))

    async def queue_resume_tx(self, tx: object, name: str) -> None:
        return await self._perform_tx(tx, store.queue_resume(name, schema=self._schema))

    async def queue_update(self, name: str, *, metadata: Mapping[str, Any]) -> Queue:
        return await self._perform(store.queue_update(name, metadata=metadata, schema=self._schema))

    async def queue_update_tx(self, tx: object, name: str, *, metadata: Mapping[str, Any]) -> Queue:
        return await self._perform_tx(
            tx, store.queue_update(name, metadata=metadata, schema=self._schema)
        )


def _completing(job: JobAtWork, schema: str | None) -> Exchange[Job]:
    metadata = job.hand_over()
    return store.job_complete(job.id, attempt=job.attempt, metadata=metadata, schema=schema)
