"""The files that pages are shown with, from the package, by name."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Refused
from riverbridge.console.ground import Ground
from riverbridge.console.templating import STATIC

KINDS = {
    "console.css": "text/css",
    "charts.css": "text/css",
    "tail.js": "text/javascript",
    "console.js": "text/javascript",
    "theme.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def asset(request: Request, ground: Ground) -> Response:
    """One file. Its path changes with what it holds, so browsers may keep it."""
    name = request.path_params["name"]
    if name not in KINDS:
        raise Refused(404, "there is no such file")
    return Response(
        STATIC.joinpath(name).read_bytes(),
        media_type=KINDS[name],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )


PAGES = (Page("/static/{name}", asset, role=None),)
