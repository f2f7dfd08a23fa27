"""The first page: how many jobs there are of each state, and how long the oldest waits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground


def overview(request: Request, ground: Ground) -> Response:
    """A simple summary."""
    return ground.render(request, "overview.html")


PAGES = (Page("/", overview, Role.VIEWER),)
