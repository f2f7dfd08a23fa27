"""The processes at work, and which of them leads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.store.workers import leader_seat, working_processes

SILENT = 8.0
"""Seconds without a word after which a process is taken for dead (docs/architecture.md)."""


def processes(request: Request, ground: Ground) -> Response:
    """The list."""
    schema = ground.database(request).schema
    return ground.render(
        request,
        "processes.html",
        processes=ground.read(request, working_processes(schema=schema)),
        leader=ground.read(request, leader_seat(schema=schema)),
        silent=SILENT,
    )


PAGES = (Page("/processes", processes, Role.VIEWER),)
