"""One change to every job that matches, a batch at a time.

A batch is one transaction. Its jobs are locked by the same filters that chose them, so none is
touched that has changed since somebody counted them; those that others have in work are left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Unpack

from riverbridge.errors import JobConflict
from riverbridge.model.job import Job
from riverbridge.model.job_filter import JobFilter
from riverbridge.store.administration import job_lock, unique_conflict
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import read_job

Change = Literal["cancel", "retry", "delete"]

_STATEMENTS = {"cancel": "job/cancel", "retry": "job/retry", "delete": "job/delete_many"}


class Batch(NamedTuple):
    """The jobs that were changed, why others could not be, and the last id of both."""

    jobs: list[Job]
    conflicts: list[JobConflict]
    last_id: int | None


def job_batch(
    change: Change, *, limit: int, after_id: int, schema: str | None, **filters: Unpack[JobFilter]
) -> Exchange[Batch]:
    """Cancel, retry or delete the next `limit` matching jobs by id; none and no last_id at the end.

    Raises InvalidRequest. A unique key that is taken in that very moment fails the whole batch with
    what the driver raises.
    """
    lock = job_lock(limit=limit, after_id=after_id, schema=schema, **filters)

    def exchange() -> Exchange[Batch]:
        ids = yield from lock
        batch = Batch([], [], ids[-1] if ids else None)
        if ids:
            rows = yield Query(_STATEMENTS[change], {"ids": ids, "schema": schema}, schema)
            for text, *holder_id in rows:
                job = read_job(text)
                if any(holder_id):
                    batch.conflicts.append(unique_conflict(job.id, *holder_id))
                else:
                    batch.jobs.append(job)
        return batch

    return exchange()
