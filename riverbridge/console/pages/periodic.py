"""The durable periodic jobs: when each runs next."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.store.periodic import LISTED, periodic_jobs

LATE = 60.0
"""Seconds after its time at which a run that was not made is late."""

FORGOTTEN = 2 * 3600.0
"""Seconds after which a row that nobody wrote is nobody's: who knows its job writes it hourly."""


def periodic(request: Request, ground: Ground) -> Response:
    """The list, by what runs next."""
    found = ground.read(request, periodic_jobs(schema=ground.database(request).schema))
    return ground.render(
        request, "periodic.html", jobs=found, listed=LISTED, late=LATE, forgotten=FORGOTTEN
    )


PAGES = (Page("/periodic", periodic, Role.VIEWER),)
