"""What is done to all jobs that match a search: preview, start, progress, cancel."""

from __future__ import annotations

import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Page, Refused, Role, form_of, visitor_of
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import CHANGES, Wanted
from riverbridge.errors import InvalidRequest
from riverbridge.store.operations import (
    count_matching,
    operation_end,
    operation_get,
    operation_list,
    operation_start,
)
from riverbridge.store.search import job_search

COUNTED = 100_000
"""Jobs that a preview counts at most."""

SAMPLE = 8
_KEY = re.compile(r"[A-Za-z0-9_\-]{22}", re.ASCII)


def preview(request: Request, ground: Ground) -> Response:
    """How many jobs there are of the search and which they are, and what may be done to them."""
    wanted = Wanted.of(request.query_params.get)
    search = wanted.search(ground)
    if search.is_empty:
        raise InvalidRequest("search for something first: this would be about every job there is")
    schema = ground.database(request).schema
    sample = ground.read(
        request, job_search(search, limit=SAMPLE, words_in_args=not ground.redaction, schema=schema)
    )
    total, all_of_them = _counted(request, ground, wanted)
    return ground.render(
        request,
        "operation_new.html",
        wanted=wanted,
        total=total,
        all_of_them=all_of_them,
        sample=sample,
        changes=[change for change in CHANGES if change.role <= visitor_of(request).role],
        key=secrets.token_urlsafe(16),
    )


def _counted(request: Request, ground: Ground, wanted: Wanted) -> tuple[int, bool]:
    """How many match, and whether these are all."""
    exchange = count_matching(
        wanted.search(ground),
        limit=COUNTED,
        words_in_args=not ground.redaction,
        schema=ground.database(request).schema,
    )
    return ground.read(request, exchange)


def start(request: Request, ground: Ground) -> Response:
    """Start it; sent twice, it is started once."""
    form = form_of(request)
    wanted = Wanted.of(form.get)
    visitor = visitor_of(request)
    change = next((each for each in CHANGES if each.name == form.get("action")), None)
    if change is None or not _KEY.fullmatch(form.get("key")):
        raise Refused(400, "begin with the search for jobs")
    if visitor.role < change.role:
        raise Refused(403, f"this is for the role {change.role.word}")
    if wanted.search(ground).is_empty:
        raise InvalidRequest("search for something first: this would be about every job there is")
    operation = ground.change(
        request,
        operation_start(
            key=form.get("key"),
            action=change.name,
            search=wanted.text,
            job_state=wanted.state,
            total=_counted(request, ground, wanted)[0],
            who=(visitor.name, visitor.role.word, visitor.way),
            schema=ground.database(request).schema,
        ),
    )
    ground.wake.set()
    return done(request, f"/operations/{operation.id}")


def operation(request: Request, ground: Ground) -> Response:
    """How far it has come."""
    schema = ground.database(request).schema
    found = ground.read(request, operation_get(request.path_params["id"], schema=schema))
    if found is None:
        raise Refused(404, "there is no such operation")
    return ground.render(request, "operation.html", operation=found)


def operations(request: Request, ground: Ground) -> Response:
    """The newest."""
    found = ground.read(request, operation_list(schema=ground.database(request).schema))
    return ground.render(request, "operations.html", operations=found)


def cancel(request: Request, ground: Ground) -> Response:
    """What is done stays done; the rest is left."""
    id = request.path_params["id"]
    exchange = operation_end(id, state="cancelled", schema=ground.database(request).schema)
    ended = ground.change(request, exchange)
    return done(request, f"/operations/{id}", "cancelled" if ended else "it was over already")


PAGES = (
    Page("/operations", operations, Role.VIEWER),
    Page("/operations/new", preview, Role.OPERATOR),
    Page("/operations", start, Role.OPERATOR, ("POST",), changes=True),
    Page("/operations/{id:int}", operation, Role.VIEWER),
    Page("/operations/{id:int}/cancel", cancel, Role.OPERATOR, ("POST",), changes=True),
)
