"""The durable periodic jobs: when each runs next; one can be run at once, and paused."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Page, Role, form_of
from riverbridge.console.ground import Ground
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange
from riverbridge.store.periodic import LISTED, periodic_change, periodic_job, periodic_jobs


def periodic(request: Request, ground: Ground) -> Response:
    """The list, by what runs next."""
    found = ground.read(request, periodic_jobs(schema=ground.database(request).schema))
    return ground.render(request, "periodic.html", jobs=found, listed=LISTED)


def _changing(path: str, change: Literal["ask", "pause", "resume"], past: str) -> Page:
    def act(request: Request, ground: Ground) -> Response:
        id = form_of(request).get("id")
        schema = ground.database(request).schema

        def exchange() -> Exchange[tuple[None, list[Record]]]:
            before = yield from periodic_job(id, schema=schema)
            yield from periodic_change(id, change, schema=schema)
            after = yield from periodic_job(id, schema=schema)
            states = [
                {"paused_at": job.paused_at and job.paused_at.isoformat()}
                for job in (before, after)
            ]
            return None, [Record(path, f"periodic job {id}", *states)]

        ground.change(request, exchange())
        return done(request, "/periodic", f"periodic job {id} {past}")

    return Page(f"/periodic/{path}", act, Role.OPERATOR, ("POST",), changes=True)


PAGES = (
    Page("/periodic", periodic, Role.VIEWER),
    _changing("run", "ask", "runs once now"),
    _changing("pause", "pause", "is paused"),
    _changing("resume", "resume", "goes on"),
)
