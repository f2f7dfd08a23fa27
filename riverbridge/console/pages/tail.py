"""The live tail: new jobs as they are committed. The page's script reads `/api/bridge/tail`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import Wanted


def tail(request: Request, ground: Ground) -> Response:
    """The page, for a search; a search that cannot be is said to be so before anything is read."""
    wanted = Wanted.of(request.query_params.get)
    wanted.search(ground)
    return ground.render(request, "tail.html", q=wanted.text)


PAGES = (Page("/tail", tail, Role.VIEWER),)
