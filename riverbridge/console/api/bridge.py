"""Our own API: what the console's pages show, as JSON. `/api/bridge/openapi.json` describes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.api.answers import answer
from riverbridge.console.api.operations import Operation, document
from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import Wanted
from riverbridge.engine.identity import VERSION
from riverbridge.model.history import BOUNDS, Facet, Line
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import ID_MAX
from riverbridge.store import administration as admin
from riverbridge.store import counts
from riverbridge.store.audit import AuditEntry, audit_list
from riverbridge.store.exchange import Exchange
from riverbridge.store.history import busiest, history
from riverbridge.store.overview import RANGES
from riverbridge.store.search import PAGE_MAX, JobLine, SortBy, job_search
from riverbridge.store.workers import WorkingProcess, working_processes

Id = Annotated[int, Meta(ge=1, le=ID_MAX)]


class JobsAsked(msgspec.Struct):
    """q: a search as on the page of jobs. after: the last page's `after`, with the same search."""

    q: Annotated[str, Meta(max_length=2000)] = ""
    sort: SortBy = "id"
    descending: bool = True
    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 50


class JobsTold(msgspec.Struct):
    """examined: jobs that were looked at. cut: there was no time to look at more for this page."""

    jobs: list[JobLine]
    after: str | None
    examined: int
    cut: bool


class JobAsked(msgspec.Struct):
    id: Id


class StatesAsked(msgspec.Struct):
    pass


class QueuesAsked(msgspec.Struct):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class QueueTold(msgspec.Struct):
    """estimated: one of the counts is what the planner expects."""

    name: str
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    metadata: Any
    available: int
    running: int
    estimated: bool


class HistoryAsked(msgspec.Struct):
    """names: of queues or kinds, by default the busiest."""

    range: Literal["15m", "1h", "6h", "24h", "7d"] = "1h"
    facet: Facet = "all"
    names: Annotated[list[str], Meta(max_length=100)] = []


class HistoryTold(msgspec.Struct):
    """bounds: of the histograms, in seconds."""

    step: int
    bounds: list[float]
    lines: list[Line]


class ProcessesAsked(msgspec.Struct):
    pass


class AuditAsked(msgspec.Struct):
    """before_id: entries older than this one."""

    before_id: Id | None = None
    who: str | None = None
    subject: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


def jobs(request: Request, ground: Ground, given: JobsAsked) -> JobsTold:
    search = Wanted(given.q, "", "", "").search(ground)
    found = ground.read(
        request,
        job_search(
            search,
            sort=given.sort,
            descending=given.descending,
            after=given.after,
            limit=given.limit,
            words_in_args=not ground.redaction,
            schema=_schema(request, ground),
        ),
    )
    return JobsTold(
        [shown(ground, line) for line in found.jobs], found.after, found.examined, found.cut
    )


def job(request: Request, ground: Ground, given: JobAsked) -> Job:
    found = ground.read(request, admin.job_get(given.id, schema=_schema(request, ground)))
    return msgspec.structs.replace(found, args=ground.redaction.args(found.kind, found.args))


def states(request: Request, ground: Ground, given: StatesAsked) -> dict[JobState, counts.Count]:
    return ground.read(request, counts.state_counts(schema=_schema(request, ground)))


def queues(request: Request, ground: Ground, given: QueuesAsked) -> list[QueueTold]:
    schema = _schema(request, ground)

    def exchange() -> Exchange[list[QueueTold]]:
        found = yield from admin.queue_list(limit=given.limit, schema=schema)
        numbers = yield from counts.queue_counts([queue.name for queue in found], schema=schema)
        return [
            QueueTold(
                queue.name, queue.created_at, queue.updated_at, queue.paused_at, queue.metadata,
                *numbers[queue.name],
            )
            for queue in found
        ]  # fmt: skip

    return ground.read(request, exchange())


def past(request: Request, ground: Ground, given: HistoryAsked) -> HistoryTold:
    schema = _schema(request, ground)
    seconds, step = RANGES[given.range]
    since = ground.clock().astimezone(UTC) - timedelta(seconds=seconds)

    def exchange() -> Exchange[list[Line]]:
        names = [""] if given.facet == "all" else given.names
        if not names:
            names = yield from busiest(step=step, since=since, facet=given.facet, schema=schema)
        return (
            yield from history(
                step=step, since=since, facet=given.facet, names=names, schema=schema
            )
        )

    return HistoryTold(step, list(BOUNDS), ground.read(request, exchange()))


def processes(request: Request, ground: Ground, given: ProcessesAsked) -> list[WorkingProcess]:
    return ground.read(request, working_processes(schema=_schema(request, ground)))


def audit(request: Request, ground: Ground, given: AuditAsked) -> list[AuditEntry]:
    return ground.read(
        request,
        audit_list(
            before_id=given.before_id,
            who=given.who,
            subject=given.subject,
            limit=given.limit,
            schema=_schema(request, ground),
        ),
    )


def openapi(request: Request, ground: Ground) -> Response:
    """The document of all operations."""
    base = request.scope.get("root_path", "")
    return answer(document(OPERATIONS, title="riverbridge", version=VERSION, base=base))


def shown(ground: Ground, line: JobLine) -> JobLine:
    """The job without what may not be seen of its args."""
    return msgspec.structs.replace(line, args=ground.redaction.args(line.kind, line.args))


def _schema(request: Request, ground: Ground) -> str | None:
    return ground.database(request).schema


OPERATIONS = (
    Operation("/api/bridge/jobs", "A page of the jobs that match.", JobsAsked, JobsTold, jobs),
    Operation("/api/bridge/jobs/{id}", "One job.", JobAsked, Job, job),
    Operation(
        "/api/bridge/states",
        "How many jobs are in each state.",
        StatesAsked,
        dict[JobState, counts.Count],
        states,
    ),
    Operation("/api/bridge/queues", "The queues by name.", QueuesAsked, list[QueueTold], queues),
    Operation(
        "/api/bridge/history", "What became of jobs over time.", HistoryAsked, HistoryTold, past
    ),
    Operation(
        "/api/bridge/processes",
        "The processes that work on this database.",
        ProcessesAsked,
        list[WorkingProcess],
        processes,
    ),
    Operation(
        "/api/bridge/audit",
        "Who changed what, the newest first.",
        AuditAsked,
        list[AuditEntry],
        audit,
        Role.OPERATOR,
    ),
)

PAGES = (
    Page("/api/bridge/openapi.json", openapi, Role.VIEWER),
    *(operation.page() for operation in OPERATIONS),
)
