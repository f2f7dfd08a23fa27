"""Whether code under test inserted the jobs it should have: assertions on the rows of `river_job`.

They look through whatever connection the test has, within the transaction that is open on it. What
is not as it should be raises AssertionError, with the nearest rows and how they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from riverbridge.model.job import Job
from riverbridge.store.administration import job_list
from riverbridge.store.exchange import Exchange
from riverbridge.testing.expected import NEAREST, Expectations, ExpectedJob, outline, report
from riverbridge.testing.link import AsyncLink, Link

MOST = 10_000
"""Jobs of a kind that are looked at, the last ones."""


def require_inserted(
    connection: object, job: object, *, schema: str | None = None, **expected: Unpack[Expectations]
) -> Job:
    """The one job that is as expected. Raises AssertionError if there is none, or another like it.

    connection: any that a client takes. job: a kind, a class of args, or args, as in `ExpectedJob`.
    Jobs of the kind that are not as expected do not matter, other than to River's RequireInserted.
    """
    __tracebackhide__ = True
    with Link(connection) as link:
        return link.perform(_one(ExpectedJob(job, **expected), schema), 2)


def require_many_inserted(
    connection: object, jobs: Sequence[object], *, schema: str | None = None
) -> list[Job]:
    """All jobs of the kinds of `jobs`, which are as expected and in the order they were inserted.

    jobs: each an ExpectedJob, a kind, a class of args, or args.
    """
    __tracebackhide__ = True
    with Link(connection) as link:
        return link.perform(_many(_expected(jobs), schema), 1)


def require_not_inserted(
    connection: object, job: object, *, schema: str | None = None, **expected: Unpack[Expectations]
) -> None:
    """No job is as expected; what is not given is any."""
    __tracebackhide__ = True
    with Link(connection) as link:
        link.perform(_none(ExpectedJob(job, **expected), schema), 1)


async def require_inserted_async(
    connection: object, job: object, *, schema: str | None = None, **expected: Unpack[Expectations]
) -> Job:
    """As `require_inserted`, on what an AsyncClient takes."""
    __tracebackhide__ = True
    async with AsyncLink(connection) as link:
        return await link.perform(_one(ExpectedJob(job, **expected), schema), 2)


async def require_many_inserted_async(
    connection: object, jobs: Sequence[object], *, schema: str | None = None
) -> list[Job]:
    """As `require_many_inserted`, on what an AsyncClient takes."""
    __tracebackhide__ = True
    async with AsyncLink(connection) as link:
        return await link.perform(_many(_expected(jobs), schema), 1)


async def require_not_inserted_async(
    connection: object, job: object, *, schema: str | None = None, **expected: Unpack[Expectations]
) -> None:
    """As `require_not_inserted`, on what an AsyncClient takes."""
    __tracebackhide__ = True
    async with AsyncLink(connection) as link:
        await link.perform(_none(ExpectedJob(job, **expected), schema), 1)


def _one(expected: ExpectedJob, schema: str | None) -> Exchange[Job]:
    __tracebackhide__ = True
    jobs = yield from _of_kinds([expected.kind], schema)
    found = [job for job in jobs if not expected.differences(job)]
    if len(found) > 1:
        raise AssertionError(
            _listed(f"{len(found)} jobs {expected.kind!r} are as expected, not one:", found)
        )
    if not found:
        others: Sequence[Job] = ()
        if not jobs:
            others, _ = yield from job_list(descending=True, limit=NEAREST, schema=schema)
        raise AssertionError(report(expected, jobs, others))
    return found[0]


def _many(expected: Sequence[ExpectedJob], schema: str | None) -> Exchange[list[Job]]:
    __tracebackhide__ = True
    jobs = yield from _of_kinds(sorted({each.kind for each in expected}), schema)
    if [job.kind for job in jobs] != [each.kind for each in expected]:
        wanted = ", ".join(each.kind for each in expected)
        raise AssertionError(_listed(f"expected in this order: {wanted}; found:", jobs))
    for number, (each, job) in enumerate(zip(expected, jobs, strict=True), 1):
        if each.differences(job):
            raise AssertionError(f"job {number} of {len(jobs)}: {report(each, [job], ())}")
    return jobs


def _none(expected: ExpectedJob, schema: str | None) -> Exchange[None]:
    __tracebackhide__ = True
    jobs = yield from _of_kinds([expected.kind], schema)
    found = [job for job in jobs if not expected.differences(job)]
    if found:
        what = ", ".join(expected.lines())
        raise AssertionError(
            _listed(f"a job {expected.kind!r} is there{what and ': '}{what}", found)
        )


def _of_kinds(kinds: list[str], schema: str | None) -> Exchange[list[Job]]:
    """In the order they were inserted."""
    jobs, _ = yield from job_list(kinds=kinds, descending=True, limit=MOST, schema=schema)
    return jobs[::-1]


def _expected(jobs: Sequence[object]) -> list[ExpectedJob]:
    if isinstance(jobs, str) or not jobs:
        raise ValueError("jobs: give a list of one or more")
    return [each if isinstance(each, ExpectedJob) else ExpectedJob(each) for each in jobs]


def _listed(head: str, jobs: Sequence[Job]) -> str:
    lines = [f"  {outline(job)}" for job in jobs[-10:]] or ["  none"]
    return "\n".join([head, *lines])
