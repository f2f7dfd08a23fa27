"""An operation on every job that matches, a batch at a time.

A batch is one transaction. Its jobs are locked by the same filters that chose them, so none is
touched that has changed since somebody counted them; those that others have in work are left out.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, Unpack

from riverbridge.errors import JobConflict
from riverbridge.model.job import Job
from riverbridge.model.job_filter import JobFilter
from riverbridge.store.administration import job_lock
from riverbridge.store.exchange import Exchange


class Operation(Protocol):
    """Such as `job_cancel`."""

    def __call__(self, id: int, *, schema: str | None) -> Exchange[Job]: ...


class Batch(NamedTuple):
    """The jobs that were changed, those that could not be, and the last id of both."""

    jobs: list[Job]
    conflicts: list[JobConflict]
    last_id: int | None


def job_batch(
    operation: Operation,
    *,
    limit: int,
    after_id: int,
    schema: str | None,
    **filters: Unpack[JobFilter],
) -> Exchange[Batch]:
    """Do `operation` on the next `limit` matching jobs by id; the last id is None after the last.

    Raises InvalidRequest, and JobConflict where one arose in that very moment: then nothing of the
    batch was done.
    """
    lock = job_lock(limit=limit, after_id=after_id, schema=schema, **filters)

    def exchange() -> Exchange[Batch]:
        ids = yield from lock
        batch = Batch([], [], ids[-1] if ids else None)
        for id in ids:
            try:
                batch.jobs.append((yield from operation(id, schema=schema)))
            except JobConflict as conflict:
                if conflict.holder_id is None:
                    raise
                batch.conflicts.append(conflict)
        return batch

    return exchange()
