"""Discarded jobs by what went wrong. They are retried as other jobs: one, a group, or a search."""

from __future__ import annotations

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import Wanted
from riverbridge.console.templating import token
from riverbridge.errors import InvalidRequest
from riverbridge.model.job_search import without
from riverbridge.store.dead_letters import DeadLetters, Letters, dead_letters

WINDOWS = (10_000, 1_000)
"""The newest discarded jobs that are looked at; the second where errors are so long that the first
takes too long."""

SHOWN = 200
"""Groups of one page."""


def page(request: Request, ground: Ground) -> Response:
    """The groups, of all or of a search."""
    wanted = Wanted(request.query_params.get("q", "").strip(), "discarded", "", "")
    found, window, problem = None, WINDOWS[0], ""
    try:
        found, window = _found(request, ground, wanted)
    except InvalidRequest as error:
        problem = str(error)
    return ground.render(
        request,
        "dead_letters.html",
        status=400 if problem else 200,
        wanted=wanted,
        found=found,
        window=window,
        shown=SHOWN,
        problem=problem,
        search_of=lambda group: search_of(wanted.text, group),
    )


def _found(request: Request, ground: Ground, wanted: Wanted) -> tuple[DeadLetters, int]:
    search = wanted.search(ground)
    for window in WINDOWS:
        exchange = dead_letters(
            search,
            window=window,
            words_in_args=not ground.redaction,
            schema=ground.database(request).schema,
        )
        try:
            return ground.read(request, exchange, seconds=3.0), window
        except psycopg.errors.QueryCanceled:
            if window == WINDOWS[-1]:
                raise
    raise AssertionError("the last window returns or raises")


def search_of(text: str, group: Letters) -> str:
    """The search that finds a group's jobs among those of `text`; also others with such an error in
    an earlier attempt."""
    tokens = [without(text, "kind"), token("kind", group.kind)]  # of several kinds any is good
    if group.error:
        tokens.append(token("error", group.error))
    return " ".join(filter(None, tokens))


PAGES = (Page("/dead-letters", page, Role.VIEWER),)
