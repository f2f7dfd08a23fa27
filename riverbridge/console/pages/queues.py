"""The queues: how full they are, how long the oldest job waits, and whether they are paused."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Page, Role, form_of
from riverbridge.console.ground import Ground
from riverbridge.store.administration import queue_get, queue_pause, queue_resume
from riverbridge.store.audit import Record
from riverbridge.store.counts import queue_summaries
from riverbridge.store.exchange import Exchange


def queues(request: Request, ground: Ground) -> Response:
    """The list."""
    found = ground.read(request, queue_summaries(schema=ground.database(request).schema))
    return ground.render(request, "queues.html", queues=found)


def _switching(action: str, past: str) -> Page:
    switch = queue_pause if action == "pause" else queue_resume

    def act(request: Request, ground: Ground) -> Response:
        name = form_of(request).get("name")
        schema = ground.database(request).schema

        def exchange() -> Exchange[tuple[None, list[Record]]]:
            before = yield from queue_get(name, schema=schema)
            yield from switch(name, schema=schema)
            after = yield from queue_get(name, schema=schema)
            states = [
                {"paused_at": queue.paused_at and queue.paused_at.isoformat()}
                for queue in (before, after)
            ]
            return None, [Record(action, f"queue {name}", *states)]

        ground.change(request, exchange())
        return done(request, "/queues", f"queue {name} {past}")

    return Page(f"/queues/{action}", act, Role.OPERATOR, ("POST",), changes=True)


PAGES = (
    Page("/queues", queues, Role.VIEWER),
    _switching("pause", "is paused"),
    _switching("resume", "goes on"),
)
