"""The list of jobs: searched, sorted, a page at a time; and what is done to those selected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Form, Page, Refused, Role, form_of
from riverbridge.console.ground import Ground
from riverbridge.console.templating import query
from riverbridge.errors import InvalidRequest, JobConflict, JobNotFound, JobRunning
from riverbridge.model.job import Job
from riverbridge.model.job_filter import FINALIZED
from riverbridge.model.job_search import JobSearch
from riverbridge.model.view import BUILT_IN, NAME_MAX, View
from riverbridge.store import administration
from riverbridge.store.audit import Record
from riverbridge.store.counts import state_counts
from riverbridge.store.exchange import Exchange
from riverbridge.store.operations import whole_search
from riverbridge.store.search import Found, job_search
from riverbridge.store.views import views

SELECTED_MAX = 1000
PAGE = 50
STATES = ("available", "running", "retryable", "scheduled", "pending", "completed", "cancelled",
          "discarded")  # fmt: skip
SORTS = {
    "-id": "Newest first",
    "id": "Oldest first",
    "-time": "Latest change first",
    "time": "Earliest change first",
    "scheduled_at": "Due first",
}
_UNREADABLE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.QueryCanceled,
)


class Wanted(NamedTuple):
    """What the address of a list asks for."""

    text: str
    state: str
    sort: str
    after: str

    @classmethod
    def of(cls, get: Callable[[str, str], str]) -> Wanted:
        """From a query or a form; raises Refused."""
        wanted = cls(get("q", "").strip(), get("state", ""), get("sort", ""), get("after", ""))
        if wanted.state and wanted.state not in STATES:
            raise Refused(400, f"state: there is none such; use {', '.join(STATES)}")
        if wanted.sort and wanted.sort not in SORTS:
            raise Refused(400, f"sort: there is none such; use {', '.join(SORTS)}")
        return wanted

    @classmethod
    def by(cls, view: View) -> Wanted:
        """What a view asks for, from its first page."""
        return cls(view.search, view.job_state, view.sort, "")

    @property
    def order(self) -> str:
        """One of SORTS; by default the newest first, or of a state that is final the last."""
        return self.sort or ("-time" if self.state in FINALIZED else "-id")

    def address(self, **changed: str) -> str:
        """The list's path with this asked for."""
        values = {"state": self.state, "q": self.text, "sort": self.sort, "after": self.after}
        return "/jobs" + query(values | changed)

    def search(self, ground: Ground) -> JobSearch:
        """What it comes to. Raises InvalidRequest."""
        search = whole_search(self.text, self.state, ground.clock())
        for path in search.arg_paths:
            if ground.redaction.hides(path):
                raise InvalidRequest(
                    f"args.{'.'.join(path)}: is not shown here, and so cannot be searched for"
                )
        return search


def jobs(request: Request, ground: Ground) -> Response:
    """The list."""
    wanted = Wanted.of(request.query_params.get)
    found, problem = None, ""
    try:
        found = _found(request, ground, wanted)
    except InvalidRequest as error:
        problem = str(error)
    try:
        counts = ground.read(
            request, state_counts(schema=ground.database(request).schema), seconds=2.0
        )
    except psycopg.errors.QueryCanceled:
        counts = {}
    return ground.render(
        request,
        "jobs.html",
        status=400 if problem else 200,
        wanted=wanted,
        found=found,
        problem=problem,
        counts=counts,
        views=_views(request, ground),
        saveable=bool(wanted.text or wanted.state) and not problem,
        view_name_max=NAME_MAX,
        states=STATES,
        sorts=SORTS,
        shown=lambda line: ground.redaction.args(line.kind, line.args),
    )


def _views(request: Request, ground: Ground) -> list[tuple[str, str]]:
    """The views' names and addresses; without those that were saved where these cannot be read."""
    saved: Sequence[View] = ()
    with contextlib.suppress(*_UNREADABLE):  # the list of jobs needs no table of ours
        saved = ground.read(request, views(schema=ground.database(request).schema), seconds=2.0)
    return [(view.name, Wanted.by(view).address()) for view in (*BUILT_IN, *saved)]


def _found(request: Request, ground: Ground, wanted: Wanted) -> Found:
    search = wanted.search(ground)
    sort = wanted.order

    def asked(loosely: bool) -> Exchange[Found]:
        return job_search(
            search,
            sort=sort.removeprefix("-"),  # type: ignore[arg-type]  # it is one of SORTS
            descending=sort.startswith("-"),
            after=wanted.after or None,
            limit=PAGE,
            loosely=loosely,
            words_in_args=not ground.redaction,
            schema=ground.database(request).schema,
        )

    try:
        return ground.read(request, asked(False), seconds=2.0)
    except psycopg.errors.QueryCanceled:
        if not (search.kinds or search.queues):
            raise
        return ground.read(request, asked(True), seconds=2.0)


class Change(NamedTuple):
    """What can be done to jobs. past: what is said when it is done."""

    name: str
    past: str
    role: Role
    one: Callable[..., Exchange[Job]]


CHANGES = (
    Change("retry", "made available", Role.OPERATOR, administration.job_retry),
    Change("cancel", "cancelled", Role.OPERATOR, administration.job_cancel),
    Change("delete", "deleted", Role.ADMIN, administration.job_delete),
)


def changed(
    change: Change, ids: Sequence[int], *, schema: str | None
) -> Exchange[tuple[tuple[int, list[str]], list[Record]]]:
    """Change each job that can be; how many were, and why the others were not."""
    records: list[Record] = []
    refused: list[str] = []
    for id in sorted(set(ids)):
        try:
            before = yield from administration.job_get(id, schema=schema)
            after = yield from change.one(id, schema=schema)
        except (JobNotFound, JobRunning, JobConflict) as error:
            refused.append(str(error))
            continue
        told = None if change.name == "delete" else brief(after)
        records.append(Record(change.name, f"job {id}", brief(before), told))
    return (len(records), refused), records


def brief(job: Job) -> dict[str, Any]:
    """What the audit keeps of a job: nothing of what it is about."""
    return {
        "kind": job.kind,
        "queue": job.queue,
        "state": str(job.state),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "scheduled_at": job.scheduled_at.isoformat(),
    }


def _acting(change: Change) -> Page:
    def act(request: Request, ground: Ground) -> Response:
        form = form_of(request)
        ids = selected(form)
        exchange = changed(change, ids, schema=ground.database(request).schema)
        count, refused = ground.change(request, exchange)
        said = f"{count} {'job' if count == 1 else 'jobs'} {change.past}"
        if refused:
            said += f"; {len(refused)} not: {'; '.join(refused[:3])}"
        if form.get("job") and change.name != "delete":
            return done(request, f"/jobs/{ids[0]}", said)
        return done(request, Wanted.of(form.get).address(), said)

    return Page(f"/jobs/{change.name}", act, change.role, ("POST",), changes=True)


def selected(form: Form) -> list[int]:
    """The ids that were selected. Raises Refused."""
    texts = form.all("id")
    if not 1 <= len(texts) <= SELECTED_MAX:
        raise Refused(400, f"select 1 to {SELECTED_MAX} jobs")
    if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in texts):
        raise Refused(400, "id: is no number")
    return [int(text) for text in texts]


PAGES = (
    Page("/jobs", jobs, Role.VIEWER),
    *(_acting(change) for change in CHANGES),
)
