"""Looking at jobs and queues, and changing them, with the semantics of River's Go client.

Each function checks its arguments at once and returns an operation. An operation is to be run in
one transaction; it changes what it says and sends the notification that goes with it, or raises and
has changed nothing. Instants are the database's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

from riverbridge.errors import (
    InvalidRequest,
    JobConflict,
    JobLost,
    JobNotFound,
    JobRunning,
    QueueNotFound,
)
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import (
    FINALIZED,
    JobFilter,
    check,
    filter_parameters,
    id_problem,
    json_text,
    limit_problem,
)
from riverbridge.model.job_order import OrderBy, job_order
from riverbridge.model.json_text import encode, text_as_go
from riverbridge.model.names import text_problem
from riverbridge.model.queue import Queue
from riverbridge.store.exchange import Exchange, Query, Rows, sqlstate
from riverbridge.store.rows import read_job, read_queue

LIMIT = 100
"""Rows of one call unless it says otherwise."""

OUTPUT_MAX = 32 << 20
"""Bytes of a job's output as JSON (contract 11.2)."""

PAYLOAD_MAX = 7999
"""Bytes of a notification."""

ALL_QUEUES = "*"

_UNIQUE_VIOLATION = "23505"
_NOT_RUNNING = tuple(state for state in JobState if state is not JobState.RUNNING)


class JobListResult(NamedTuple):
    """A page of jobs, and after which cursor the next one begins; None for a page without jobs."""

    jobs: list[Job]
    last_cursor: str | None


def job_get(id: int, *, schema: str | None) -> Exchange[Job]:
    """The job. Raises JobNotFound."""
    return _job(id, Query("job/get", {"id": _id(id)}, schema))


def job_row(id: int, *, schema: str | None) -> Exchange[str]:
    """As `job_get`, with the row as Postgres spells it, `to_json(row)::text`."""
    query = Query("job/get", {"id": _id(id)}, schema)

    def exchange() -> Exchange[str]:
        (text,) = _only((yield query), id)
        return str(text)

    return exchange()


def job_list(
    *,
    order_by: OrderBy = "id",
    descending: bool = False,
    limit: int = LIMIT,
    after: str | None = None,
    schema: str | None,
    **filters: Unpack[JobFilter],
) -> Exchange[JobListResult]:
    """A page of the jobs that match all filters (contract 3.11).

    order_by: `id`, `scheduled_at`, `finalized_at` (of finished jobs, the only ones listed then) or
    `time`, the instant that goes with the first of `states`; ties go by id. limit: 1 to 10000.
    after: the last page's `last_cursor`, with the same order and filters. Raises InvalidRequest.
    """
    page = job_rows(
        order_by=order_by,
        descending=descending,
        limit=limit,
        after=after,
        schema=schema,
        **filters,
    )

    def exchange() -> Exchange[JobListResult]:
        rows, last_cursor = yield from page
        return JobListResult([read_job(text) for text in rows], last_cursor)

    return exchange()


def job_rows(
    *,
    order_by: OrderBy = "id",
    descending: bool = False,
    limit: int = LIMIT,
    after: str | None = None,
    schema: str | None,
    **filters: Unpack[JobFilter],
) -> Exchange[tuple[list[str], str | None]]:
    """As `job_list`, with each row as Postgres spells it, `to_json(row)::text`."""
    check("limit", limit_problem(limit))
    parameters = filter_parameters(**filters)
    order = job_order(order_by, descending=bool(descending), states=parameters["states"])
    if order.by == "finalized_at":
        parameters["states"] = parameters["states"] or [str(state) for state in FINALIZED]
    parameters |= {"sorted_by": order.name, "descending": order.descending, "limit": limit}
    query = Query("job/list", parameters | order.after(after), schema)

    def exchange() -> Exchange[tuple[list[str], str | None]]:
        rows = [text for (text,) in (yield query)]
        return rows, order.cursor(read_job(rows[-1])) if rows else None

    return exchange()


def job_count(*, limit: int, schema: str | None, **filters: Unpack[JobFilter]) -> Exchange[int]:
    """How many jobs match all filters, counted up to `limit`. Raises InvalidRequest."""
    query = Query("job/count", filter_parameters(**filters) | {"limit": limit}, schema)

    def exchange() -> Exchange[int]:
        ((count,),) = yield query
        return int(count)

    return exchange()


def job_lock(
    *, limit: int, after_id: int, schema: str | None, **filters: Unpack[JobFilter]
) -> Exchange[list[int]]:
    """The next matching jobs by id, locked until the transaction ends; those in work are left out.

    Raises InvalidRequest.
    """
    parameters = filter_parameters(**filters) | {"limit": limit, "after_id": after_id}
    query = Query("job/lock", parameters, schema)

    def exchange() -> Exchange[list[int]]:
        return [id for (id,) in (yield query)]

    return exchange()


def job_cancel(id: int, *, schema: str | None) -> Exchange[Job]:
    """Cancel the job and tell its worker; the job as it stands afterwards (contract 3.5).

    A running job stays running: it is marked, and cancelled once its worker gives up. A finished
    job stays as it is. Raises JobNotFound.
    """
    return _job(id, Query("job/cancel", {"ids": [_id(id)], "schema": schema}, schema))


def job_retry(id: int, *, schema: str | None) -> Exchange[Job]:
    """Make the job available now; the job as it stands afterwards (contract 3.6).

    Where it has no attempt left it is given one. A running job, and one that is available and due,
    stay as they are. Raises JobNotFound; JobConflict if another job has its unique key.
    """
    query = Query("job/retry", {"ids": [_id(id)]}, schema)

    def exchange() -> Exchange[Job]:
        try:
            rows = yield query
        except Exception as error:
            if sqlstate(error) != _UNIQUE_VIOLATION:
                raise
            raise unique_conflict(id, None) from error
        text, holder_id = _only(rows, id)
        if holder_id is not None:
            raise unique_conflict(id, holder_id)
        return read_job(text)

    return exchange()


def job_delete(id: int, *, schema: str | None) -> Exchange[Job]:
    """Delete the job; the job as it was (contract 3.7). Raises JobNotFound and JobRunning."""
    query = Query("job/delete_one", {"id": _id(id)}, schema)

    def exchange() -> Exchange[Job]:
        text, running = _only((yield query), id)
        if running:
            raise JobRunning(
                f"job {id} is running and cannot be deleted: cancel it, or wait until it has ended",
                job_id=id,
            )
        return read_job(text)

    return exchange()


def job_delete_many(
    *,
    limit: int = LIMIT,
    unsafe_all: bool = False,
    schema: str | None,
    **filters: Unpack[JobFilter],
) -> Exchange[list[Job]]:
    """Delete the first jobs by id that match all filters; the jobs as they were (contract 3.7).

    Running jobs, and those that somebody has in work, are left out. limit: 1 to 10000. Raises
    InvalidRequest, also where there is no filter; unsafe_all=True says that this is meant.
    """
    check("limit", limit_problem(limit))
    parameters = filter_parameters(**filters)
    filtered = any(value is not None for value in parameters.values())
    if filtered and unsafe_all:
        raise InvalidRequest("unsafe_all: goes with no filter: leave out one of the two")
    if not filtered and not unsafe_all:
        raise InvalidRequest(
            "no filter is given, which would delete every job: give one, or unsafe_all=True"
        )
    wanted = parameters["states"] or _NOT_RUNNING
    parameters["states"] = [str(state) for state in wanted if state != JobState.RUNNING]
    lock = Query("job/lock", parameters | {"limit": limit, "after_id": -1}, schema)

    def exchange() -> Exchange[list[Job]]:
        ids = [id for (id,) in (yield lock)]
        rows = (yield Query("job/delete_many", {"ids": ids}, schema)) if ids else ()
        return [read_job(text) for (text,) in rows]

    return exchange()


def job_complete(id: int, *, attempt: int, metadata: str, schema: str | None) -> Exchange[Job]:
    """Complete a job that is at work in this attempt. Raises JobNotFound and JobLost.

    metadata: the text of a JSON object that is merged into the row's.
    """
    parameters = {"id": _id(id), "attempt": attempt, "metadata": metadata}

    def exchange() -> Exchange[Job]:
        rows = yield Query("job/complete_at_work", parameters, schema)
        if not rows:
            found = yield from job_get(id, schema=schema)
            raise JobLost(
                f"job {id} is {found.state} at attempt {found.attempt}, not running at attempt "
                f"{attempt}: it has no lease, or was taken from its function, which must roll back",
                job_id=id,
            )
        return read_job(rows[0][0])

    return exchange()


def job_update(id: int, *, output: object, schema: str | None) -> Exchange[Job]:
    """Record the job's output, in whatever state it is; the job as it stands afterwards.

    output: anything that has a form in JSON, at most 32 MiB of it. It becomes the key `output` of
    the job's metadata, whose other keys stay (contract 11.2). Raises JobNotFound, InvalidRequest.
    """
    metadata = json_text("output", {"output": output})
    size = len(metadata.encode()) - len('{"output":}')
    if size > OUTPUT_MAX:
        raise InvalidRequest(
            f"output: has {size} bytes as JSON; at most {OUTPUT_MAX} are kept: store it elsewhere "
            "and record where"
        )
    return _job(id, Query("job/update", {"id": _id(id), "metadata": metadata}, schema))


def unique_conflict(id: int, holder_id: int | None) -> JobConflict:
    """That a job cannot become available; None if it is not known which other has its key."""
    holder = "another job" if holder_id is None else f"job {holder_id}"
    return JobConflict(
        f"job {id} cannot become available: {holder} has its unique key: wait until that one has "
        "ended, or cancel or delete it",
        job_id=id,
        holder_id=holder_id,
    )


def queue_get(name: str, *, schema: str | None) -> Exchange[Queue]:
    """The queue. Raises QueueNotFound."""
    return _queue(name, Query("queue/get", {"name": _name(name)}, schema))


def queue_list(*, limit: int = LIMIT, schema: str | None) -> Exchange[list[Queue]]:
    """The queues by name, those that a worker has reported within a day. limit: 1 to 10000."""
    check("limit", limit_problem(limit))
    query = Query("queue/list", {"limit": limit}, schema)

    def exchange() -> Exchange[list[Queue]]:
        return [read_queue(text) for (text,) in (yield query)]

    return exchange()


def queue_pause(name: str, *, schema: str | None) -> Exchange[None]:
    """Stop the workers of a queue, or of all for `*`, from taking jobs (contract 3.12).

    Jobs that are running go on. Raises QueueNotFound.
    """
    return _switched(name, "pause", Query("queue/pause", {"name": _name(name)}, schema))


def queue_resume(name: str, *, schema: str | None) -> Exchange[None]:
    """Let the workers of a queue, or of all for `*`, take jobs again. Raises QueueNotFound."""
    return _switched(name, "resume", Query("queue/resume", {"name": _name(name)}, schema))


def queue_touch(name: str, *, schema: str | None) -> Exchange[Queue]:
    """Say that the queue was changed, though nothing was, as River does. Raises QueueNotFound."""
    return _queue(name, Query("queue/touch", {"name": _name(name)}, schema))


def queue_update(name: str, *, metadata: Mapping[str, Any], schema: str | None) -> Exchange[Queue]:
    """Put `metadata` in place of the queue's and tell its workers (contract 3.12).

    It travels in the notification, which holds somewhat less than 8000 bytes. Raises QueueNotFound,
    InvalidRequest.
    """
    text = json_text("metadata", metadata)
    payload = _payload("metadata_changed", name, text)
    if len(payload.encode()) > PAYLOAD_MAX:
        raise InvalidRequest(
            f"metadata: makes a notification of {len(payload.encode())} bytes; Postgres sends at "
            f"most {PAYLOAD_MAX}: store it elsewhere and keep its key here"
        )
    query = Query("queue/update", {"name": _name(name), "metadata": text}, schema)

    def exchange() -> Exchange[Queue]:
        queue = yield from _queue(name, query)
        yield _control(payload, schema)
        return queue

    return exchange()


def _job(id: int, query: Query) -> Exchange[Job]:
    (text,) = _only((yield query), id)
    return read_job(text)


def _queue(name: str, query: Query) -> Exchange[Queue]:
    rows = yield query
    if not rows:
        raise _no_queue(name)
    return read_queue(rows[0][0])


def _switched(name: str, action: str, query: Query) -> Exchange[None]:
    rows = yield query
    if not rows and name != ALL_QUEUES:
        raise _no_queue(name)
    yield _control(_payload(action, name), query.schema)


def _only(rows: Rows, id: int) -> tuple[Any, ...]:
    if not rows:
        raise JobNotFound(
            f"job {id} is not there: it was deleted or cleaned up, or is in another schema",
            job_id=id,
        )
    return rows[0]


def _no_queue(name: str) -> QueueNotFound:
    return QueueNotFound(
        f"queue {name!r} is not there: a queue has a row once a worker has asked for its jobs, and "
        "until a day after the last did",
        name=name,
    )


def _payload(action: str, queue: str, metadata: str | None = None) -> str:
    """A control event, spelled as Go spells it (contract 5.2)."""
    middle = "" if metadata is None else f'"metadata":{metadata},'
    return text_as_go(f'{{"action":"{action}",{middle}"queue":{encode(queue)}}}')


def _control(payload: str, schema: str | None) -> Query:
    return Query("notify/control", {"payload": payload, "schema": schema}, schema)


def _id(id: int) -> int:
    check("id", id_problem(id))
    return int(id)


def _name(name: str) -> str:
    check("name", text_problem(name))
    return str.__str__(name)
