"""Routes and sinks, as this process and the database know them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
import pytest

from riverbridge.bridge.outlet import Outlet
from riverbridge.console.frame import Role
from riverbridge.console.known import KNOWN, Known
from riverbridge.model.history import BOUNDS
from riverbridge.model.outcome import Outcome, Unreachable
from riverbridge.model.replay import ReplayRoute
from riverbridge.service.knowing import sinks_now
from riverbridge.sinks.base import Message
from tests.support.console import Desk, Markup, desk
from tests.support.database import Database


class Nowhere:
    """A sink that nothing is sent to."""

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        raise AssertionError

    def close(self) -> None:
        return


@pytest.fixture
def outlet() -> Outlet:
    return Outlet("events", Nowhere(), threads=3)


@pytest.fixture
def bridge(tables: Database, outlet: Outlet) -> Desk:
    """The console of a process with a route and a sink."""
    route = ReplayRoute("orders", queues=("order-*",), kinds=("*",), sinks=("events",))
    here = Known([route], {"events": "kafka"}, sinks_now=lambda: sinks_now({"events": outlet}))
    return desk(tables, extra={KNOWN: here})


def test_what_this_process_knows(
    bridge: Desk, outlet: Outlet, look: psycopg.Connection[Any]
) -> None:
    look.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name, inserted, completed, cancelled,"
        " discarded, failed, wait, run) VALUES (60, date_trunc('minute', now()), 'queue',"
        " 'order-eu', 0, 900, 0, 0, 90, '{}', '{}'), (60, date_trunc('minute', now()), 'queue',"
        " 'mail', 0, 9000, 0, 0, 0, '{}', '{}')"
    )
    page = Markup(bridge.get("/routes").text).text
    assert "orders active order-* * events 1.00 0.10" in page
    assert "events active kafka orders closed 0 /3" in page
    histogram = [0] * (len(BOUNDS) + 1)
    histogram[7] = 450
    look.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name, completed, failed, run)"
        " VALUES (60, date_trunc('minute', now()), 'sink', 'events', 450, 90, %s)",
        [histogram],
    )
    page = Markup(bridge.get("/routes").text).text
    assert "events active kafka orders closed 0 /3 0.50 0.10 150 ms 195 ms" in page
    outlet.breaker.heard([Unreachable("nobody answers")])
    assert "open for" in (page := Markup(bridge.get("/routes").text).text)
    assert "nobody answers" in page


def test_pausing_says_who_and_why_and_is_audited(
    bridge: Desk, look: psycopg.Connection[Any]
) -> None:
    def pauses() -> list[tuple[Any, ...]]:
        return look.execute(
            "SELECT what, name, paused_by, reason FROM riverbridge_pause"
        ).fetchall()

    assert bridge.post("/routes/pause", Role.VIEWER, what="sink", name="events").status_code == 403
    went = bridge.post("/routes/pause", what="sink", name="events", reason="  the move ")
    assert (went.status_code, pauses()) == (303, [("sink", "events", "admin", "the move")])
    assert bridge.post("/routes/pause", what="route", name="orders").status_code == 303
    page = Markup(bridge.get("/routes").text).text
    assert "paused by admin, " in page
    assert "the move" in page
    for what, name in (("sink", "event"), ("route", "events"), ("queue", "events"), ("", "")):
        assert bridge.post("/routes/pause", what=what, name=name).status_code == 400
    assert bridge.post("/routes/resume", what="sink", name="events").status_code == 303
    assert bridge.post("/routes/resume", what="sink", name="events").status_code == 303
    assert [what for what, *_ in pauses()] == ["route"]
    assert bridge.audit() == [
        ("admin", "pause", "sink events"),
        ("admin", "pause", "route orders"),
        ("admin", "resume", "sink events"),
    ]


def test_another_database_is_not_this_process_s(
    tables: Database, database: Database, bridge: Desk
) -> None:
    office = desk(tables, others={"second": database}, extra=bridge.ground.extra)
    assert "order-*" in office.get("/routes").text
    page = Markup(office.get("/on/second/routes").text).text
    assert "order-*" not in page
    assert "has no routes or sinks for this database" in page
    assert office.post("/on/second/routes/pause", what="sink", name="events").status_code == 400
    with database.connect() as other:
        other.execute(
            "INSERT INTO riverbridge_pause (what, name, paused_by, until)"
            " VALUES ('route', 'theirs', 'bob', %s)",
            [datetime.fromisoformat("2999-01-01T00:00:00Z")],
        )
    page = Markup(office.get("/on/second/routes").text).text
    assert "theirs paused by bob, " in page
    assert "until 2999-01-01" in page
    assert office.post("/on/second/routes/resume", what="route", name="theirs").status_code == 303
    assert "theirs" not in Markup(office.get("/on/second/routes").text).text
