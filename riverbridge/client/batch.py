"""What both clients do to the jobs of a call before anything is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from riverbridge.errors import ClientError, InvalidJob
from riverbridge.model.args import JobArgs
from riverbridge.model.options import (
    AlikeJobs,
    InsertManyParams,
    InsertOpts,
    InsertResult,
    NewJob,
    alike_jobs,
    check_new_job,
    new_job,
)
from riverbridge.store.insert import CHUNK

T = TypeVar("T")
Insert = TypeVar("Insert", bound=Callable[[list[NewJob]], Any])


class InsertHook(Protocol):
    """Called with each job before it is inserted, in both clients; its unique key is there already.

    Returns the job to insert in its place, as `msgspec.structs.replace` makes it, or None to leave
    it as it is. What it raises aborts the whole call, of which nothing is sent (contract 11.1).
    What has to wait belongs into a middleware.
    """

    def __call__(self, job: NewJob, /) -> NewJob | None: ...


class InsertMiddleware(Protocol):
    """Called around each batch of a `Client`, outside of its transaction (contract 11.1).

    `insert` is the next one, and in the end the hooks and the insert itself: it takes the jobs and
    returns their results in order, or their number where `insert_many_fast` was called. So does
    the middleware.
    """

    def __call__(self, jobs: list[NewJob], insert: Callable[[list[NewJob]], T], /) -> T: ...


class AsyncInsertMiddleware(Protocol):
    """As `InsertMiddleware`, around each batch of an `AsyncClient`; it awaits `insert`."""

    async def __call__(
        self, jobs: list[NewJob], insert: Callable[[list[NewJob]], Awaitable[T]], /
    ) -> T: ...


class Preparation:
    """Checks jobs, and lets the hooks have them."""

    def __init__(
        self,
        defaults: InsertOpts | None,
        hooks: Sequence[InsertHook],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._defaults = defaults
        self._hooks = tuple(hooks)
        self._now = now

    def job(self, args: JobArgs, opts: InsertOpts | None) -> NewJob:
        """The row for one job. Raises InvalidJob."""
        now = None if self._now is None else self._now()
        return new_job(args, opts, defaults=self._defaults, now=now)

    def jobs(self, jobs: Sequence[JobArgs | InsertManyParams]) -> list[NewJob]:
        """The rows for `jobs`, each args or InsertManyParams. Raises InvalidJob."""
        if not jobs:
            raise InvalidJob("no jobs to insert: give at least one")
        checked: list[NewJob] = []
        try:
            for job in jobs:
                if isinstance(job, InsertManyParams):
                    checked.append(self.job(job.args, job.opts))
                else:
                    checked.append(self.job(job, None))
        except InvalidJob as error:
            where = f"job {len(checked) + 1} of {len(jobs)}: "
            raise InvalidJob(f"{where}{error}") from error.__cause__
        return checked

    def alike(self, jobs: Sequence[JobArgs | InsertManyParams]) -> list[AlikeJobs] | None:
        """As `jobs`, for each statement at once; None where hooks or differences forbid that."""
        if self._hooks or not jobs:
            return None
        found = []
        for start in range(0, len(jobs), CHUNK):
            some = alike_jobs(jobs[start : start + CHUNK], defaults=self._defaults)
            if some is None:
                return None
            found.append(some)
        return found

    def hooked(self, jobs: list[NewJob]) -> list[NewJob]:
        """The jobs as the hooks leave them."""
        return [self._hooked(job) for job in jobs] if self._hooks else jobs

    def _hooked(self, job: NewJob) -> NewJob:
        for hook in self._hooks:
            changed = hook(job)
            if changed is not None:
                check_new_job(changed)
                job = changed
        return job


def around(middleware: Sequence[Callable[[list[NewJob], Insert], Any]], insert: Insert) -> Insert:
    """`insert` with all of `middleware` around it, the first outermost."""
    for layer in reversed(middleware):
        insert = cast(Insert, partial(_enter, layer, insert))
    return insert


def _enter(layer: Callable[..., Any], insert: Callable[..., Any], jobs: list[NewJob]) -> Any:
    return layer(jobs, insert)


def only(results: Sequence[InsertResult]) -> InsertResult:
    """The result of a single job."""
    if len(results) != 1:
        raise ClientError(
            f"there are {len(results)} results for one job: insert middleware must return what "
            "`insert` returned, and no trigger on river_job may leave a row out"
        )
    return results[0]
