"""Replays: finished jobs delivered once more, of a search: preview, start, progress, cancel."""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from riverbridge.bridge.replay import SILENCE, Preview, Replayer
from riverbridge.console.flash import done
from riverbridge.console.frame import Form, Page, Refused, Role, form_of, visitor_of
from riverbridge.console.ground import Ground
from riverbridge.console.known import known
from riverbridge.console.pages.jobs import Wanted
from riverbridge.errors import InvalidRequest, ReplayError
from riverbridge.model.replay import Replay, ReplayPlan, plan_replay
from riverbridge.model.replay_search import replay_filter
from riverbridge.store.administration import job_list
from riverbridge.store.audit import Record
from riverbridge.store.database import Connection
from riverbridge.store.limits import bounded_transaction
from riverbridge.store.replay import replay_list

PAGE = 50
COUNTING = 10.0
"""Seconds that counting may take: somebody waits for it."""

_KEY = re.compile(r"[A-Za-z0-9_\-]{22}", re.ASCII)


def replays(request: Request, ground: Ground) -> Response:
    """The latest."""
    found = ground.read(request, replay_list(PAGE, schema=ground.database(request).schema))
    now = ground.clock()
    return ground.render(
        request,
        "replays.html",
        replays=found,
        filter_of=lambda replay: _shown(replay.plan, ground),
        runs=lambda replay: _runs(replay, now),
        routes=known(request, ground).routes,
    )


def _shown(plan: ReplayPlan, ground: Ground) -> dict[str, Any]:
    """The filter, without what is hidden here: `riverbridge replay` may have asked for it."""
    wanted: dict[str, Any] = msgspec.to_builtins(plan.filter)
    if "args" in wanted:
        wanted["args"] = ground.redaction.anywhere(msgspec.json.decode(wanted["args"]))
    return wanted


def _runs(replay: Replay, now: Any) -> bool:
    silent: float = (now - replay.beat_at).total_seconds()
    return replay.runner is not None and silent < SILENCE


def preview(request: Request, ground: Ground) -> Response:
    """What a search would replay, counted; without a search what to do."""
    wanted = Wanted.of(request.query_params.get)
    sink = request.query_params.get("sink", "")
    here = known(request, ground)
    shown: dict[str, Any] = {"plan": None, "found": None, "sample": [], "problem": ""}
    try:
        if here.routes and not wanted.search(ground).is_empty:
            shown |= _previewed(request, ground, wanted, sink)
    except InvalidRequest as error:
        shown["problem"] = str(error)
    return ground.render(
        request,
        "replay_new.html",
        status=400 if shown["problem"] else 200,
        wanted=wanted,
        sink=sink,
        routes=here.routes,
        sinks=sorted({name for route in here.routes for name in route.sinks}),
        key=secrets.token_urlsafe(16),
        filter_of=lambda plan: _shown(plan, ground),
        **shown,
    )


def _previewed(request: Request, ground: Ground, wanted: Wanted, sink: str) -> dict[str, Any]:
    plan = _plan(request, ground, wanted, sink)
    database = ground.database(request)
    with database.connection(read_only=True) as connection:
        found = _counted(_replayer(request, ground, connection), plan)
    sample = ground.read(request, job_list(ids=found.sample or [0], schema=database.schema))
    return {"plan": plan, "found": found, "sample": sample.jobs}


def _plan(request: Request, ground: Ground, wanted: Wanted, sink: str) -> ReplayPlan:
    search = wanted.search(ground)
    if search.is_empty:
        raise InvalidRequest("search for something first: this would be about every job there is")
    routes = known(request, ground).routes
    if not routes:
        raise Refused(
            409,
            "this process has no routes set for this database, so it cannot tell which jobs a "
            "replay would reach: use the console of one that has, or `riverbridge replay`",
        )
    return plan_replay(replay_filter(search), routes, sink or None)


def _counted(replayer: Replayer, plan: ReplayPlan) -> Preview:
    return replayer.preview(plan, patience=COUNTING)


def _replayer(request: Request, ground: Ground, connection: Connection) -> Replayer:
    return Replayer(connection, ground.database(request).schema, name=_name(request))


def _name(request: Request) -> str:
    return f"{visitor_of(request).name} (console)"


def start(request: Request, ground: Ground) -> Response:
    """Start it, and run it here; sent twice, it is started once."""
    form = form_of(request)
    wanted, key = Wanted.of(form.get), form.get("key")
    if not _KEY.fullmatch(key):
        raise Refused(400, "begin with the search for jobs")
    plan = _plan(request, ground, wanted, form.get("sink"))
    rate = _rate(form)
    database, running = ground.database(request), ground.replays
    with running.starting, database.connection() as connection:
        if key in running.started:
            return done(request, "/replays", f"replay {running.started[key]} was started already")
        running.check_room()
        replayer = _replayer(request, ground, connection)
        found = _counted(replayer, plan)
        with bounded_transaction(connection, 10.0):
            began = replayer.start(plan, found, rate=rate)
            told = {"search": wanted.text, "state": wanted.state, "sink": plan.sink,
                    "rate": rate, "about": began.total}  # fmt: skip
            record = Record("start", f"replay {began.id}", None, told)
            ground.record(request, connection, [record])
        running.remember(key, began.id)
        if began.state == "open":
            running.run(database, began.id, _name(request))
    return done(request, "/replays", f"replay {began.id} of {began.total} jobs")


def _rate(form: Form) -> float | None:
    text = form.get("rate").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII) or float(text) <= 0:
        raise Refused(400, "rate: is no number of jobs a second above 0")
    return float(text)


def cancel(request: Request, ground: Ground) -> Response:
    """End it where it is, whoever runs it."""
    id, database = request.path_params["id"], ground.database(request)
    with database.connection() as connection, bounded_transaction(connection, 10.0):
        replayer = _replayer(request, ground, connection)
        try:
            found, ended = replayer.get(id), replayer.cancel(id)
        except ReplayError as error:
            raise Refused(409, str(error)) from None
        # It may have come further between the two: what is told of before is its state.
        told = {"state": ended.state, "done": ended.done, "skipped": ended.skipped}
        record = Record("cancel", f"replay {id}", {"state": found.state}, told)
        ground.record(request, connection, [record])
    return done(request, "/replays", f"replay {id} is cancelled")


def resume(request: Request, ground: Ground) -> Response:
    """Go on, in this process, with one that nobody runs."""
    id, database, running = request.path_params["id"], ground.database(request), ground.replays
    with running.starting:
        running.check_room()
        with database.connection() as connection, bounded_transaction(connection, 10.0):
            try:
                found = _replayer(request, ground, connection).get(id)
            except ReplayError as error:
                raise Refused(404, str(error)) from None
            if found.state != "open" or _runs(found, ground.clock()):
                raise Refused(409, f"replay {id} is over, or somebody runs it")
            told = {"done": found.done, "skipped": found.skipped}
            ground.record(request, connection, [Record("resume", f"replay {id}", None, told)])
        running.run(database, id, _name(request))
    return done(request, "/replays", f"replay {id} goes on")


PAGES = (
    Page("/replays", replays, Role.VIEWER),
    Page("/replays/new", preview, Role.OPERATOR),
    Page("/replays", start, Role.OPERATOR, ("POST",), changes=True),
    Page("/replays/{id:int}/cancel", cancel, Role.OPERATOR, ("POST",), changes=True),
    Page("/replays/{id:int}/resume", resume, Role.OPERATOR, ("POST",), changes=True),
)
