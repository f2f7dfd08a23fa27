"""Sources: how far they were read, and the events that could not become jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Page, Refused, Role, form_of
from riverbridge.console.ground import Ground
from riverbridge.console.known import known
from riverbridge.console.octets import readable
from riverbridge.console.pages.jobs import selected
from riverbridge.console.templating import query
from riverbridge.store.audit import Record
from riverbridge.store.database import Connection
from riverbridge.store.sources import (
    PLACES_MAX,
    EventLine,
    places,
    quarantine_drop,
    quarantine_lines,
    quarantined_octets,
    reasons,
)

WINDOW = 10_000
"""The newest events in quarantine that are counted by reason."""

PAGE = 100
BODY_MAX = 1 << 20
"""Bytes of a body that are read to be shown."""

PATIENCE = 10.0
"""Seconds that one request goes on retrying events."""


class Wanted(NamedTuple):
    """Which events a list shows."""

    source: str
    reason: str
    before: str

    @classmethod
    def of(cls, get: Callable[[str, str], str]) -> Wanted:
        """From a query or a form; raises Refused."""
        wanted = cls(*(get(name, "") for name in cls._fields))
        before = wanted.before
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise Refused(400, "before: is no number")
        if "\0" in wanted.source + wanted.reason:
            raise Refused(400, "source, reason: hold a NUL, which Postgres cannot store")
        return wanted

    def address(self, **changed: str) -> str:
        """The list's path with this asked for."""
        return "/quarantine" + query(self._asdict() | changed)


def sources(request: Request, ground: Ground) -> Response:
    """Positions, and the quarantine by reason."""
    here, schema = known(request, ground), ground.database(request).schema
    return ground.render(
        request,
        "sources.html",
        sources=here.sources,
        serving=here.sources_now(),
        places=ground.read(request, places(schema=schema)),
        places_max=PLACES_MAX,
        reasons=ground.read(request, reasons(window=WINDOW, schema=schema)),
        window=WINDOW,
    )


def quarantine(request: Request, ground: Ground) -> Response:
    """The events, the newest first."""
    wanted = Wanted.of(request.query_params.get)
    exchange = quarantine_lines(
        source=wanted.source or None,
        reason=wanted.reason or None,
        before=int(wanted.before) if wanted.before else None,
        limit=PAGE,
        schema=ground.database(request).schema,
    )
    events = ground.read(request, exchange)
    return ground.render(
        request,
        "quarantine.html",
        wanted=wanted,
        events=events,
        sources=known(request, ground).sources,
        more=str(events[-1].id) if len(events) == PAGE else None,
    )


def event(request: Request, ground: Ground) -> Response:
    """One event, with its bytes."""
    id, schema = request.path_params["id"], ground.database(request).schema
    lines = ground.read(request, quarantine_lines(ids=[id], schema=schema))
    found = ground.read(request, quarantined_octets(id, limit=BODY_MAX, schema=schema))
    if not lines or found is None:
        raise Refused(404, f"no event {id} is in quarantine")
    [line] = lines
    hide = ground.redaction
    return ground.render(
        request,
        "event.html",
        event=line,
        reason=found.reason,
        event_at=found.event_at,
        key=None if found.key is None else readable(found.key, hide),
        headers=[(name, readable(value, hide)) for name, value in found.headers],
        body=None
        if found.body is None
        else readable(found.body, hide, whole=len(found.body) == line.size),
        known=line.source in known(request, ground).sources,
    )


def retry(request: Request, ground: Ground) -> Response:
    """Make jobs of those that are selected, each in its own transaction, as the sources are set
    in this process."""
    form = form_of(request)
    wanted, ids = Wanted.of(form.get), selected(form)
    here = known(request, ground)
    schema = ground.database(request).schema
    lines = ground.read(request, quarantine_lines(ids=ids, limit=len(ids), schema=schema))
    lines = [line for line in reversed(lines) if line.source in here.sources]
    if here.retries is None or not lines:
        raise Refused(
            409,
            "this process has no such source set, by which to make jobs of these events: use the "
            "console of one that has, or `riverbridge quarantine retry` with its settings",
        )
    again = here.retries()
    made, stays = 0, 0
    until = time.monotonic() + PATIENCE
    with ground.database(request).connection() as connection:
        for line in lines:
            if time.monotonic() > until:
                break
            told = _telling(request, ground, line)
            if again(connection, line.source, line.id, told) is None:
                made += 1
            else:
                stays += 1
    left = len(ids) - made - stays
    said = f"{made} taken out, {stays} stay" + (f"; {left} not tried" if left else "")
    return done(request, wanted.address(), said)


def _telling(
    request: Request, ground: Ground, line: EventLine
) -> Callable[[Connection, str | None], None]:
    def told(connection: Connection, reason: str | None) -> None:
        before = {"source": line.source, "event": line.event_id, "reason": line.reason}
        after = None if reason is None else {"reason": reason[:300]}
        ground.record(request, connection, [Record("retry", f"event {line.id}", before, after)])

    return told


def drop(request: Request, ground: Ground) -> Response:
    """Delete those that are selected for good."""
    form = form_of(request)
    wanted, ids = Wanted.of(form.get), selected(form)
    count = ground.change(request, quarantine_drop(ids, schema=ground.database(request).schema))
    return done(request, wanted.address(), f"{count} dropped")


PAGES = (
    Page("/sources", sources, Role.VIEWER),
    Page("/quarantine", quarantine, Role.VIEWER),
    Page("/quarantine/{id:int}", event, Role.VIEWER),
    Page("/quarantine/retry", retry, Role.OPERATOR, ("POST",), changes=True),
    Page("/quarantine/drop", drop, Role.OPERATOR, ("POST",), changes=True),
)
