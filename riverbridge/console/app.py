"""The console as an ASGI application: all pages, and which database a path is about.

A path that begins with /on/NAME is about the database of that name, any other about the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from riverbridge.console.access.authentication import Authentication
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.access.headers import harden
from riverbridge.console.frame import Page
from riverbridge.console.ground import Ground
from riverbridge.console.guard import Guard
from riverbridge.console.pages import PAGES

_ON = re.compile(r"/on/([a-z0-9_]+)(?=/|$)", re.ASCII)


def console(
    ground: Ground,
    *,
    authentication: Authentication | None = None,
    hosts: Hosts | None = None,
    prefix: str = "",
    pages: Sequence[Page] = PAGES,
) -> Starlette:
    """The application. It may also be mounted in another one, under any path.

    authentication: by default nobody is asked who they are, and everybody is an administrator: then
    it must not be reachable but from this machine. hosts: the names it is served under; by default
    those of this machine alone. prefix: a path before all of its own, as `/jobs`, where no other
    application mounts it.
    """
    guard = Guard(
        ground,
        authentication or Authentication(),
        hosts or Hosts((), loopback=True),
    )
    routes = [
        Route(page.path, guard.around(page), methods=list(page.methods), name=page.path)
        for page in pages
    ]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_page})
    # A redirect to a path with a slash more or less would go to the host that the request names.
    inner.router.redirect_slashes = False
    app: ASGIApp = _Databases(inner, ground)
    outer = Starlette(routes=[Mount(prefix, app=app)])
    outer.router.redirect_slashes = False
    return outer


def _no_such_page(request: Request, error: Exception) -> Response:
    """No path of ours, or not with this method: told without a word on any database."""
    assert isinstance(error, HTTPException)  # it is registered for nothing else
    text = "there is no such page" if error.status_code == 404 else error.detail.lower()
    response: Response
    if request.scope["path"].removeprefix(request.scope.get("root_path", "")).startswith("/api/"):
        response = JSONResponse({"message": text}, error.status_code, error.headers)
    else:
        response = PlainTextResponse(f"{text}\n", error.status_code, error.headers)
    return harden(response)


class _Databases:
    """Finds the database that a path names, and takes the name out of the path."""

    def __init__(self, app: ASGIApp, ground: Ground) -> None:
        self._app = app
        self._ground = ground

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        databases = self._ground.databases
        database = next(iter(databases.values()))
        state = dict(scope.get("state", {}))
        if (found := _ON.match(path)) is not None:
            if found[1] not in databases:
                answer = PlainTextResponse("there is no such database\n", 404)
                await harden(answer)(scope, receive, send)
                return
            database = databases[found[1]]
            scope = {**scope, "root_path": root + found[0]}
        state |= {"database": database, "home": root}
        await self._app({**scope, "state": state}, receive, send)
