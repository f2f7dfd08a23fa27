"""New rows of `river_job`, and the notification that goes with them.

The args of a statement's jobs are one parameter, a text of as many lines. In most calls all have
the same options, which are parameters of their own; else they are another text, in JSON, of those
that differ, as to take the options apart anew for each job would be a fifth of the server's work.
Arrays would cost psycopg twice as much for one job, and each driver has ways of its own to write
them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec

from riverbridge.model.job import Job, JobState
from riverbridge.model.json_object import read_object
from riverbridge.model.options import AlikeJobs, InsertResult, NewJob
from riverbridge.store.exchange import Exchange, Query, Rows
from riverbridge.store.rows import read_job

CHUNK = 1000
"""Rows of one statement; more at once gain nothing."""

CHUNK_BYTES = 16 << 20
"""About how long the args and metadata of one statement may be in all."""


def chunks(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    """The jobs of each statement, in order."""
    start = size = 0
    for number, job in enumerate(jobs):
        length = len(job.args) + len(job.metadata)
        if number - start == CHUNK or (size + length > CHUNK_BYTES and number > start):
            yield jobs[start:number]
            start, size = number, 0
        size += length
    yield jobs[start:]


def to_announce(jobs: Sequence[NewJob]) -> list[str]:
    """The queues with a job to work now; scheduled and pending jobs need no notification.

    A job that turns out to be a duplicate counts, too (contract 5.3).
    """
    return sorted({job.queue for job in jobs if job.state is JobState.AVAILABLE})


def insert_many(
    jobs: Sequence[NewJob], *, queues: Sequence[str], schema: str | None = None
) -> Exchange[list[InsertResult]]:
    """Insert `jobs` and announce `queues`; the rows in the order of `jobs`.

    Where a job's unique key is taken, the row that holds it is the result. Of jobs with one key
    among `jobs` the first is inserted and the others are duplicates of it; Go's client fails there
    (contract 3.1).
    """
    places: dict[bytes, int] = {}
    first = [
        job
        for number, job in enumerate(jobs)
        if job.unique_key is None or places.setdefault(job.unique_key, number) == number
    ]
    results: list[InsertResult] = []
    for chunk in chunks(first):
        if places:
            rows = yield _keyed("job/insert_unique", chunk, queues, schema)
            results.extend([InsertResult(read_job(text), skipped) for text, skipped in rows])
        else:
            one = len(chunk) == 1 and not queues
            rows = yield _plain(_ONE if one else _WITH_ROWS, chunk, queues, schema)
            results.extend(_results(chunk, rows))
        queues = ()
    if len(first) == len(jobs):
        return results
    of_key = {job.unique_key: result.job for job, result in zip(first, results, strict=True)}
    rest = iter(results)
    return [
        next(rest)
        if job.unique_key is None or places[job.unique_key] == number
        else InsertResult(of_key[job.unique_key], True)
        for number, job in enumerate(jobs)
    ]


def insert_many_fast(
    jobs: Sequence[NewJob], *, queues: Sequence[str], schema: str | None = None
) -> Exchange[int]:
    """Insert `jobs` and announce `queues`; how many were inserted (contract 3.2).

    Those whose key is taken are left out; Go's client fails there and inserts none.
    """
    unique = any(job.unique_key is not None for job in jobs)
    inserted = 0
    for chunk in chunks(jobs):
        if unique:
            [(count,)] = yield _keyed("job/insert_unique_fast", chunk, queues, schema)
            inserted += count
        else:
            yield _plain(_FAST, chunk, queues, schema)
            inserted += len(chunk)
        queues = ()
    return inserted


def insert_alike(
    jobs: Sequence[AlikeJobs], *, queues: Sequence[str], schema: str | None = None
) -> Exchange[int]:
    """As `insert_many_fast`, by a statement for each of `jobs`."""
    for some in jobs:
        yield Query(_FAST[0], _of_alike(some, some.args, queues, schema), schema)
        queues = ()
    return sum(some.count for some in jobs)


def all_taken(jobs: Sequence[NewJob], *, schema: str | None = None) -> Exchange[bool]:
    """Whether the unique key of each of `jobs` is taken: by its own row, or an earlier one."""
    keys = {job.unique_key for job in jobs}
    [(count,)] = yield Query("job/keys_taken", {"keys": list(keys)}, schema)
    return bool(count == len(keys))


def statements(jobs: Sequence[NewJob]) -> int:
    """How many statements `jobs` are inserted by, at most."""
    return sum(1 for _ in chunks(jobs))


class _Options(msgspec.Struct):
    """All of a job but its args and its key."""

    metadata: msgspec.Raw
    kind: str
    max_attempts: int
    priority: int
    queue: str
    state: str
    tags: tuple[str, ...]
    scheduled_at: datetime | None
    unique_states: int | None


_options = attrgetter(*_Options.__struct_fields__)
_encode = msgspec.json.Encoder().encode


_ONE = "job/insert_one", "job/insert"
_WITH_ROWS = "job/insert_alike", "job/insert"
_FAST = "job/insert_alike_fast", "job/insert_fast"


def _plain(
    names: tuple[str, str], jobs: Sequence[NewJob], queues: Sequence[str], schema: str | None
) -> Query:
    """Of jobs none of which is unique. names: where all have the same options, and where not."""
    alike, mixed = names
    options = [_options(job) for job in jobs]
    if options.count(options[0]) < len(options):
        parameters = _of_options(options) | _of_all(_lines(jobs), queues, schema)
        return Query(mixed, parameters, schema)
    return Query(alike, _of_alike(jobs[0], _lines(jobs), queues, schema), schema)


def _of_alike(job: NewJob, lines: str, queues: Sequence[str], schema: str | None) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "max_attempts": job.max_attempts,
        "priority": job.priority,
        "queue": job.queue,
        "state": job.state.value,
        "scheduled_at": job.scheduled_at,
        "tags": ",".join(job.tags),
        "metadata": job.metadata,
        **_of_all(lines, queues, schema),
    }


def _keyed(name: str, jobs: Sequence[NewJob], queues: Sequence[str], schema: str | None) -> Query:
    """Of jobs of which some are unique."""
    keys = ",".join([b64encode(job.unique_key or b"").decode() for job in jobs])
    parameters = _of_options([_options(job) for job in jobs])
    parameters |= _of_all(_lines(jobs), queues, schema)
    return Query(name, parameters | {"keys": keys}, schema)


def _of_options(options: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    numbers: dict[tuple[Any, ...], str] = {}
    of_each = [numbers.setdefault(each, str(len(numbers) + 1)) for each in options]
    distinct = [_Options(msgspec.Raw(metadata), *others) for metadata, *others in numbers]
    return {"options": ",".join(of_each), "distinct": _encode(distinct).decode()}


def _of_all(lines: str, queues: Sequence[str], schema: str | None) -> dict[str, Any]:
    return {"args": lines, "queues": _encode(queues).decode(), "schema": schema}


def _lines(jobs: Sequence[NewJob]) -> str:
    # Between JSON's tokens a line's end is a space like others, and within them is none.
    return "\n".join([job.args.replace("\n", " ") for job in jobs])


def _results(jobs: Sequence[NewJob], rows: Rows) -> Iterator[InsertResult]:
    """Of a new row that is not unique only its id and instant are the database's to say."""
    for job, (id_, instant) in zip(jobs, rows, strict=True):
        created_at = instant.replace(tzinfo=UTC)
        # By position and in the order of `Job`: by name would cost as much as all the rest.
        yield InsertResult(
            Job(
                id_,
                job.state,
                0,
                job.max_attempts,
                job.kind,
                job.queue,
                job.priority,
                read_object(job.args),
                {} if job.metadata == "{}" else read_object(job.metadata),
                list(job.tags),
                created_at,
                job.scheduled_at or created_at,
            )
        )
