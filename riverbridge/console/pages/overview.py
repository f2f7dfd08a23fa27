"""The first page: how many jobs there are of each state, and how long the oldest waits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import STATES
from riverbridge.store.summary import queue_summaries, state_counts


def overview(request: Request, ground: Ground) -> Response:
    """A simple summary."""
    schema = ground.database(request).schema
    return ground.render(
        request,
        "overview.html",
        states=STATES,
        counts=ground.read(request, state_counts(schema=schema)),
        queues=ground.read(request, queue_summaries(schema=schema)),
    )


PAGES = (Page("/", overview, Role.VIEWER),)
