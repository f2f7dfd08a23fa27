"""River UI's own API: its front end, and the scripts made for it, work with the console too.

Paths, fields, limits and the meaning of each call are River UI's (v0.22). Its extensions belong to
River Pro; none is offered. What changes something is entered in the audit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.api.answers import (
    INT32_MAX,
    Concurrency,
    answer,
    go_time,
    job_detail,
    job_summary,
    queue_detail,
)
from riverbridge.console.frame import Endpoint, Page, Refused, Role, body_of
from riverbridge.console.ground import Ground
from riverbridge.engine.identity import VERSION
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import FINALIZED, ID_MAX, JobFilter
from riverbridge.model.queue import Queue
from riverbridge.store import administration as admin
from riverbridge.store import counts
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.oldest import oldest_rows

IDS_MAX = 1000
LIMIT_MAX = 1000
NAMES_MAX = 100
PRIORITIES_MAX = 10
SUGGESTED = 100

OK = {"status": "ok"}

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class _Ids(msgspec.Struct):
    ids: list[str | int] | None = None


class _QueueChange(msgspec.Struct):
    concurrency: Concurrency | msgspec.UnsetType | None = msgspec.UNSET


def autocomplete(request: Request, ground: Ground) -> Response:
    """Kinds or names of queues for the search box."""
    given = request.query_params
    facets = {"job_kind": counts.kind_names, "queue_name": counts.queue_names}
    find = facets.get(given.get("facet", ""))
    if find is None:
        raise Refused(400, f"`facet` must be one of {', '.join(facets)}")
    names = find(
        match=_text("match", given.get("match", "")),
        after=_text("after", given.get("after", "")),
        exclude=[_text("exclude", name) for name in given.getlist("exclude")],
        limit=SUGGESTED,
        schema=ground.database(request).schema,
    )
    return answer({"data": ground.read(request, names)})


def features(request: Request, ground: Ground) -> Response:
    """No extension of River Pro."""
    return answer({"extensions": {}, "job_list_hide_args_by_default": False})


def alive(request: Request, ground: Ground) -> Response:
    """This process answers."""
    return answer(OK)


def healthy(request: Request, ground: Ground) -> Response:
    """This process answers, and so does its database."""
    ground.read(request, _sign_of_life())
    return answer(OK)


def version(request: Request, ground: Ground) -> Response:
    """Of riverbridge; what Go knows of its own programs stays empty."""
    return answer(
        {"version": VERSION, "revision": "", "time": "", "modified": False, "go_version": ""}
    )


def jobs(request: Request, ground: Ground) -> Response:
    """The first jobs of a state: of those that have ended, the latest first, of others the oldest.

    Without a state, those that are running, by when they began.
    """
    given = request.query_params
    limit = _limit(request, 20)
    state = given.get("state") or None
    if state is not None and state not in list(JobState):
        raise Refused(400, f"`state` must be one of {', '.join(JobState)}")
    numbers = {
        "ids": [max(0, _number_or_none(text) or 0) for text in _several(request, "ids", IDS_MAX)],
        "priorities": [
            _number_or_none(text) or 0 for text in _several(request, "priorities", PRIORITIES_MAX)
        ],
    }
    asked_priorities = bool(numbers["priorities"])
    numbers["priorities"] = [number for number in numbers["priorities"] if number in (1, 2, 3, 4)]
    if limit == 0 or (asked_priorities and not numbers["priorities"]):
        return answer({"data": []})
    filters: JobFilter = {
        "ids": numbers["ids"] or None,
        "priorities": numbers["priorities"] or None,
        "kinds": _several(request, "kinds", NAMES_MAX) or None,
        "queues": _several(request, "queues", NAMES_MAX) or None,
        "tags_any": _several(request, "tags", NAMES_MAX) or None,
    }
    page = _first(state, limit, filters, ground.database(request).schema)
    rows = ground.read(request, page)
    return answer({"data": [job_summary(row, ground.redaction) for row in rows]})


def job(request: Request, ground: Ground) -> Response:
    """One job, with its errors and metadata."""
    text = request.path_params["job_id"]
    id = _number_or_none(text)
    if id is None or id == 0 or abs(id) > ID_MAX:
        raise Refused(400, f"{text[:40]!r} is no id of a job: an id is a number from 1 to {ID_MAX}")
    if id < 0:
        raise Refused(404, f"job {id} is not there")
    row = ground.read(request, admin.job_row(id, schema=ground.database(request).schema))
    return answer(job_detail(row, ground.redaction))


def cancel(request: Request, ground: Ground) -> Response:
    return _each_job(request, ground, "cancel", admin.job_cancel)


def retry(request: Request, ground: Ground) -> Response:
    return _each_job(request, ground, "retry", admin.job_retry)


def delete(request: Request, ground: Ground) -> Response:
    return _each_job(request, ground, "delete", admin.job_delete)


def queues(request: Request, ground: Ground) -> Response:
    """The queues by name, with how many of their jobs are available and running."""
    schema = ground.database(request).schema
    limit = _limit(request, 100)

    def exchange() -> Exchange[list[Any]]:
        found = yield from admin.queue_list(limit=limit, schema=schema)
        numbers = yield from counts.queue_counts([queue.name for queue in found], schema=schema)
        return [queue_detail(queue, numbers[queue.name]) for queue in found]

    return answer({"data": ground.read(request, exchange()) if limit else []})


def queue(request: Request, ground: Ground) -> Response:
    schema = ground.database(request).schema
    found = admin.queue_get(request.path_params["name"], schema=schema)
    return answer(ground.read(request, _with_counts(found, schema)))


def pause(request: Request, ground: Ground) -> Response:
    return _switch(request, ground, "pause", admin.queue_pause)


def resume(request: Request, ground: Ground) -> Response:
    return _switch(request, ground, "resume", admin.queue_resume)


def change_queue(request: Request, ground: Ground) -> Response:
    """Put limits in place of the queue's metadata; null takes them away."""
    name, schema = request.path_params["name"], ground.database(request).schema
    change = _body(request, _QueueChange)
    if change.concurrency is msgspec.UNSET:
        updated = admin.queue_touch(name, schema=schema)
        records = []
    else:
        metadata = (
            {} if change.concurrency is None else {"concurrency": _limits(change.concurrency)}
        )
        updated = admin.queue_update(name, metadata=metadata, schema=schema)
        records = [Record("change queue", f"queue {name}", after=metadata)]

    def exchange() -> Exchange[tuple[Any, Sequence[Record]]]:
        return (yield from _with_counts(updated, schema)), records

    return answer(ground.change(request, exchange()))


def states(request: Request, ground: Ground) -> Response:
    """How many jobs are in each state, and how that is known."""
    found = ground.read(request, counts.state_counts(schema=ground.database(request).schema))
    told: dict[str, dict[str, Any]] = {}
    for state, count in found.items():
        told[state.value] = {"accuracy": count.accuracy, "count": count.jobs}
        if count.observed_at is not None:
            told[state.value]["observed_at"] = go_time(count.observed_at.isoformat())
    return answer(told)


def _first(
    state: str | None, limit: int, filters: JobFilter, schema: str | None
) -> Exchange[list[str]]:
    if state is not None and state not in list(FINALIZED):
        return oldest_rows(state, limit=limit, schema=schema, **filters)
    filters["states"] = [state or JobState.RUNNING]
    page = admin.job_rows(
        order_by="time", descending=state is not None, limit=limit, schema=schema, **filters
    )

    def exchange() -> Exchange[list[str]]:
        rows, _ = yield from page
        return rows

    return exchange()


def _sign_of_life() -> Exchange[None]:
    yield Query("transaction/now")


def _each_job(
    request: Request, ground: Ground, action: str, change: Callable[..., Exchange[Job]]
) -> Response:
    """Do it to all jobs that are named, or to none."""
    ids, schema = _ids(request), ground.database(request).schema

    def exchange() -> Exchange[tuple[None, Sequence[Record]]]:
        records = []
        for id in ids:
            job = yield from change(id, schema=schema)
            records.append(Record(action, f"job {id}", after=job.state.value))
        return None, records

    ground.change(request, exchange())
    return answer(OK)


def _switch(
    request: Request, ground: Ground, action: str, change: Callable[..., Exchange[None]]
) -> Response:
    name, schema = request.path_params["name"], ground.database(request).schema

    def exchange() -> Exchange[tuple[None, Sequence[Record]]]:
        yield from change(name, schema=schema)
        return None, [Record(action, f"queue {name}")]

    ground.change(request, exchange())
    return answer(OK)


def _with_counts(found: Exchange[Queue], schema: str | None) -> Exchange[Any]:
    queue = yield from found
    numbers = yield from counts.queue_counts([queue.name], schema=schema)
    return queue_detail(queue, numbers[queue.name])


def _limits(given: Concurrency) -> dict[str, Any]:
    whole = given.whole()
    for name in ("global_limit", "local_limit"):
        if not 0 <= whole[name] <= INT32_MAX:
            raise Refused(400, f"`{name}` must be from 0, which is no limit, to {INT32_MAX}")
    by_args = whole["partition"]["by_args"]
    whole["partition"]["by_args"] = None if by_args is None else sorted(by_args)
    return whole


def _ids(request: Request) -> list[int]:
    given = _body(request, _Ids).ids
    if not given or len(given) > IDS_MAX:
        raise Refused(400, f"`ids` must be a list of 1 to {IDS_MAX} ids")
    ids = []
    for text in given:
        id = _number_or_none(str(text))
        if id is None or abs(id) > ID_MAX:
            raise Refused(400, f"`ids`: {str(text)[:40]!r} is no id of a job")
        if id < 0:
            raise Refused(404, f"job {id} is not there")
        ids.append(id)
    return ids


def _body(request: Request, form: type[Any]) -> Any:
    try:
        given = msgspec.json.decode(body_of(request) or b"{}", type=form | None)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Refused(400, f"the body cannot be read: {error}") from None
    return form() if given is None else given


def _several(request: Request, name: str, most: int) -> list[str]:
    given = request.query_params.getlist(name)
    if len(given) > most:
        raise Refused(400, f"`{name}` has {len(given)} values; at most {most}")
    return given


def _limit(request: Request, default: int) -> int:
    text = request.query_params.get("limit") or str(default)
    limit = _number_or_none(text)
    if limit is None or not 0 <= limit <= LIMIT_MAX:
        raise Refused(400, f"`limit` must be a number from 0 to {LIMIT_MAX}, not {text[:40]!r}")
    return limit


def _number_or_none(text: str) -> int | None:
    # As Go reads it. What is longer than this is beyond any number that is asked for.
    return int(text) if len(text) <= 40 and _INTEGER.fullmatch(text) else None


def _text(name: str, value: str) -> str:
    if "\x00" in value:
        raise Refused(400, f"`{name}` holds a zero byte, which no text in Postgres has")
    return value


def _change(path: str, endpoint: Endpoint, method: str, role: Role = Role.OPERATOR) -> Page:
    return Page(path, endpoint, role, (method,), changes=True)


PAGES = (
    Page("/api/autocomplete", autocomplete, Role.VIEWER),
    Page("/api/features", features, Role.VIEWER),
    Page("/api/health-checks/minimal", alive, role=None),
    Page("/api/health-checks/complete", healthy, role=None),
    Page("/api/jobs", jobs, Role.VIEWER),
    _change("/api/jobs/cancel", cancel, "POST"),
    _change("/api/jobs/delete", delete, "POST", Role.ADMIN),
    _change("/api/jobs/retry", retry, "POST"),
    Page("/api/jobs/{job_id}", job, Role.VIEWER),
    Page("/api/queues", queues, Role.VIEWER),
    Page("/api/queues/{name}", queue, Role.VIEWER),
    _change("/api/queues/{name}", change_queue, "PATCH"),
    _change("/api/queues/{name}/pause", pause, "PUT"),
    _change("/api/queues/{name}/resume", resume, "PUT"),
    Page("/api/states", states, Role.VIEWER),
    Page("/api/version", version, Role.VIEWER),
)
