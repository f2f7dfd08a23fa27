"""Discarded jobs by what went wrong. They are retried as other jobs: one, a group, or a search."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import Wanted
from riverbridge.console.templating import token
from riverbridge.errors import InvalidRequest
from riverbridge.model.job_search import without
from riverbridge.store.dead_letters import DeadLetters, Letters, dead_letters

LOOKED = 10_000
"""The newest discarded jobs that are looked at; fewer where errors are so long that it takes too
long."""

SHOWN = 200
"""Groups of one page."""


def page(request: Request, ground: Ground) -> Response:
    """The groups, of all or of a search."""
    wanted = Wanted(request.query_params.get("q", "").strip(), "discarded", "", "")
    found, problem = None, ""
    try:
        found = _found(request, ground, wanted)
    except InvalidRequest as error:
        problem = str(error)
    return ground.render(
        request,
        "dead_letters.html",
        status=400 if problem else 200,
        wanted=wanted,
        found=found,
        shown=SHOWN,
        problem=problem,
        search_of=lambda group: search_of(wanted.text, group),
    )


def _found(request: Request, ground: Ground, wanted: Wanted) -> DeadLetters:
    exchange = dead_letters(
        wanted.search(ground),
        most=LOOKED,
        words_in_args=not ground.redaction,
        schema=ground.database(request).schema,
    )
    return ground.read(request, exchange)


def search_of(text: str, group: Letters) -> str:
    """The search that finds a group's jobs among those of `text`; also others with such an error in
    an earlier attempt."""
    tokens = [without(text, "kind"), token("kind", group.kind)]  # of several kinds any is good
    if group.error:
        tokens.append(token("error", group.error))
    return " ".join(filter(None, tokens))


PAGES = (Page("/dead-letters", page, Role.VIEWER),)
