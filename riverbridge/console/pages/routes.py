"""Routes and sinks: what this process knows of them, what is paused; pause them, let them go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast

import psycopg
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.flash import done
from riverbridge.console.frame import Form, Page, Refused, Role, form_of, visitor_of
from riverbridge.console.ground import Ground
from riverbridge.console.known import SinkNow, known
from riverbridge.model.history import Facet, Line, floor, quantile
from riverbridge.model.pause import Pausable, Pause
from riverbridge.model.replay import ReplayRoute
from riverbridge.store import pauses as store
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange
from riverbridge.store.history import busiest, history

STEP, STEPS = 60, 15
"""Rates are of so many stretches of so many seconds."""

QUEUES = 200
"""The most queues that rates are read of."""


class RouteLine(NamedTuple):
    """One route. route: None where this process does not have it. rates: of its queues; None where
    there is no history."""

    name: str
    route: ReplayRoute | None
    pause: Pause | None
    rates: Rates | None


class SinkLine(NamedTuple):
    """One sink. kind, now: None where this process does not have it, or not in service. lately:
    what all processes have delivered by it; None where nothing is known of that."""

    name: str
    kind: str | None
    routes: Sequence[str]
    pause: Pause | None
    now: SinkNow | None
    lately: Line | None


class Rates(NamedTuple):
    """Jobs a second, and attempts that failed."""

    completed: float
    failed: float


def page(request: Request, ground: Ground) -> Response:
    """Both lists."""
    here = known(request, ground)
    schema = ground.database(request).schema
    paused = {
        (pause.what, pause.name): pause
        for pause in ground.read(request, store.pauses(schema=schema))
    }
    lines = _history(request, ground, "queue") if here.routes else None
    delivered = (_history(request, ground, "sink") or {}) if here.sinks or paused else {}
    by_name = {route.name: route for route in here.routes}
    return ground.render(
        request,
        "routes.html",
        here=here,
        minutes=STEP * STEPS // 60,
        seconds=STEP * STEPS,
        quantile=quantile,
        routes=[
            RouteLine(name, by_name.get(name), paused.get(("route", name)),
                      _rates(by_name.get(name), lines))
            for name in _names(by_name, paused, "route")
        ],
        sinks=[
            SinkLine(name, here.sinks.get(name),
                     [route.name for route in here.routes if name in route.sinks],
                     paused.get(("sink", name)), now.get(name), delivered.get(name))
            for now in [here.sinks_now()]
            for name in _names(here.sinks, paused, "sink")
        ],
    )  # fmt: skip


def _names(
    own: Mapping[str, Any], paused: Mapping[tuple[Pausable, str], Pause], what: Pausable
) -> list[str]:
    return sorted({*own, *(name for kind, name in paused if kind == what)})


def _history(request: Request, ground: Ground, facet: Facet) -> Mapping[str, Line] | None:
    """What became of the jobs of each queue, or the messages of each sink, lately."""
    since = floor(ground.clock(), STEP) - timedelta(seconds=STEP * STEPS)
    schema = ground.database(request).schema

    def exchange() -> Exchange[dict[str, Line]]:
        names = yield from busiest(step=STEP, since=since, facet=facet, limit=QUEUES, schema=schema)
        found: dict[str, Line] = {}
        for line in (yield from history(
            step=STEP, since=since, facet=facet, names=names, schema=schema
        )):  # fmt: skip
            found.setdefault(line.name, Line(STEP, since, facet, line.name)).add(line)
        return found

    try:
        return ground.read(request, exchange()) or None
    except (psycopg.errors.UndefinedTable, psycopg.errors.QueryCanceled):
        return None


def _rates(route: ReplayRoute | None, lines: Mapping[str, Line] | None) -> Rates | None:
    if route is None or lines is None:
        return None
    own = [line for queue, line in lines.items() if route.serves(queue)]
    seconds = STEP * STEPS
    return Rates(
        sum(line.completed for line in own) / seconds, sum(line.failed for line in own) / seconds
    )


def _what(form: Form) -> Pausable:
    what = form.get("what")
    if what not in ("route", "sink"):
        raise Refused(400, "what: is route or sink")
    return cast(Pausable, what)


def pause(request: Request, ground: Ground) -> Response:
    """Pause one, or say anew why."""
    form, here = form_of(request), known(request, ground)
    what, name = _what(form), form.get("name")
    own = [route.name for route in here.routes] if what == "route" else here.sinks
    if name not in own:  # a slip, which would pause nothing
        raise Refused(400, f"name: the settings of this process have no {what} {name}")
    exchange = _paused(
        what,
        name,
        by=visitor_of(request).name,
        reason=form.get("reason").strip() or None,
        schema=ground.database(request).schema,
    )
    ground.change(request, exchange)
    return done(request, "/routes", f"{what} {name} is paused")


def _paused(
    what: Pausable, name: str, *, by: str, reason: str | None, schema: str | None
) -> Exchange[tuple[Pause, list[Record]]]:
    before = yield from _standing(what, name, schema)
    after = yield from store.pause(what, name, by=by, reason=reason, schema=schema)
    return after, [Record("pause", f"{what} {name}", _told(before), _told(after))]


def resume(request: Request, ground: Ground) -> Response:
    """Let one go on, whosever settings have it."""
    form = form_of(request)
    what, name = _what(form), form.get("name")
    exchange = _resumed(what, name, schema=ground.database(request).schema)
    was = ground.change(request, exchange)
    return done(request, "/routes", f"{what} {name} {'goes on' if was else 'was not paused'}")


def _resumed(
    what: Pausable, name: str, *, schema: str | None
) -> Exchange[tuple[bool, list[Record]]]:
    before = yield from _standing(what, name, schema)
    was = yield from store.resume(what, name, schema=schema)
    return was, [Record("resume", f"{what} {name}", _told(before))] if was else []


def _standing(what: Pausable, name: str, schema: str | None) -> Exchange[Pause | None]:
    found = yield from store.pauses(schema=schema)
    return next((each for each in found if (each.what, each.name) == (what, name)), None)


def _told(pause: Pause | None) -> dict[str, Any] | None:
    if pause is None:
        return None
    until = None if pause.until is None else pause.until.isoformat()
    return {"by": pause.paused_by, "reason": pause.reason, "until": until}


PAGES = (
    Page("/routes", page, Role.VIEWER),
    Page("/routes/pause", pause, Role.OPERATOR, ("POST",), changes=True),
    Page("/routes/resume", resume, Role.OPERATOR, ("POST",), changes=True),
)
