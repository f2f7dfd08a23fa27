"""What both clients do to the jobs of a call before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.errors import InvalidJob
from riverbridge.model.options import InsertManyParams, NewJob, new_job


def checked(jobs: Sequence[object]) -> list[NewJob]:
    """The rows for `jobs`, each args or InsertManyParams. Raises InvalidJob."""
    if not jobs:
        raise InvalidJob("no jobs to insert: give at least one")
    if len(jobs) == 1:
        return [_checked(jobs[0], "")]
    return [_checked(job, f"job {number} of {len(jobs)}: ") for number, job in enumerate(jobs, 1)]


def _checked(job: object, where: str) -> NewJob:
    args, opts = (job.args, job.opts) if isinstance(job, InsertManyParams) else (job, None)
    return new_job(args, opts, where=where)
