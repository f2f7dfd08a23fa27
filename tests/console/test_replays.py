"""Replays of a search, and periodic jobs."""

from __future__ import annotations

import re
import threading
from typing import Any

import psycopg
import pytest

from riverbridge.console.frame import Role
from riverbridge.console.known import KNOWN, Known
from riverbridge.console.redaction import Redaction, Rule
from riverbridge.model.replay import ReplayRoute
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.console import Desk, Markup, desk, insert
from tests.support.database import Database
from tests.support.wait import eventually

ROUTE = ReplayRoute("orders", queues=("order",), kinds=("*",), sinks=("events", "files"))
OPEN = (
    "INSERT INTO riverbridge_replay (plan, started_by, after_id, last_id, total, runner, beat_at)"
    """ VALUES ('{"filter": {"args": "{\\"card\\": 4111}"}, "routes": []}', 'bob', 0, 9, 9, %s,"""
    " now() - make_interval(secs => %s)) RETURNING id"
)


@pytest.fixture
def bridge(tables: Database) -> Desk:
    """The console of a process with a route."""
    return desk(tables, extra={KNOWN: Known([ROUTE])})


def key_of(page: str) -> str:
    found = re.search(r'name="key" value="([\w-]{22})"', page)
    assert found is not None
    return found[1]


def test_preview_start_and_end(bridge: Desk, look: psycopg.Connection[Any]) -> None:
    mine = [insert(look, kind=f"k{n}", queue="order", state="discarded") for n in range(3)]
    other = insert(look, kind="k1", queue="mail", state="completed")
    waits = insert(look, kind="k1", queue="order")
    page = bridge.get("/replays/new", q="kind:k*")
    text = Markup(page.text).text
    assert "3 jobs to replay" in text
    assert "orders discarded 3" in text
    assert "1 more match, which no route in question takes" in text
    form: dict[str, Any] = {"q": "kind:k*", "state": "", "sink": "events", "key": key_of(page.text)}
    assert bridge.post("/replays", Role.VIEWER, **form).status_code == 403
    for _ in range(2):  # sent twice, it is started once
        assert bridge.post("/replays", **form).headers["location"] == "/replays"
    eventually(lambda: "finished" in Markup(bridge.get("/replays").text).text)
    assert [bridge.row(id)["state"] for id in mine] == ["available"] * 3
    assert bridge.row(other)["state"] == "completed"
    assert bridge.row(waits)["metadata"] == {}
    assert look.execute(
        "SELECT started_by, done, plan ->> 'sink' FROM riverbridge_replay"
    ).fetchall() == [("admin (console)", 3, "events")]
    assert bridge.audit() == [("admin", "start", "replay 1")]


@pytest.mark.parametrize(
    "search", ["-kind:a", "priority:1", "a word", "queue:o*", "error:a error:b", "tag:a tag:b",
               "error:a*b", "state:running", "queue:mail", "args.card:1"],
)  # fmt: skip
def test_what_cannot_be_replayed(tables: Database, search: str) -> None:
    hide = Redaction([Rule.parse("card")])
    office = desk(tables, extra={KNOWN: Known([ROUTE])}, redaction=hide)
    page = office.get("/replays/new", q=search)
    assert page.status_code == 400
    assert "alert" in Markup(page.text).all("p", "role")
    assert office.post("/replays", q=search, key="k" * 22).status_code == 400


def test_nothing_is_not_everything(bridge: Desk) -> None:
    assert "Preview" in Markup(bridge.get("/replays/new").text).text
    assert bridge.post("/replays", key="k" * 22).status_code == 400
    assert bridge.post("/replays", q="kind:a", key="").status_code == 400
    assert bridge.post("/replays", q="kind:a", key="k" * 22, rate="0").status_code == 400


def test_without_routes_nobody_can_tell(office: Desk) -> None:
    assert "no routes set" in office.get("/replays").text
    assert "no routes set" in office.get("/replays/new", q="kind:a").text
    assert office.post("/replays", q="kind:a", key="k" * 22).status_code == 409


def test_cancel_and_go_on(office: Desk, look: psycopg.Connection[Any]) -> None:
    """Of replays that others began; of one that somebody runs, only cancel."""
    ids = [look.execute(OPEN, of).fetchone() for of in ((None, 0), ("bob", 1), ("bob", 60))]
    assert ids == [(1,), (2,), (3,)]
    page = Markup(office.get("/replays").text)
    assert (page.text.count("stopped"), page.text.count("running")) == (2, 1)
    assert office.post("/replays/2/resume").status_code == 409
    assert office.post("/replays/9/resume").status_code == 404
    assert office.post("/replays/3/resume").status_code == 303
    eventually(lambda: "finished" in Markup(office.get("/replays").text).text)
    assert office.post("/replays/1/cancel").status_code == 303
    assert office.post("/replays/1/cancel").status_code == 409
    assert look.execute("SELECT state FROM riverbridge_replay ORDER BY id").fetchall() == [
        ("cancelled",), ("open",), ("finished",),
    ]  # fmt: skip
    assert [entry[1:] for entry in office.audit()] == [
        ("resume", "replay 3"), ("cancel", "replay 1"),
    ]  # fmt: skip


def test_what_a_replay_asked_for_is_redacted(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    look.execute(OPEN, (None, 0))
    assert "4111" in desk(tables).get("/replays").text
    hide = Redaction([Rule.parse("card")])
    assert "4111" not in desk(tables, redaction=hide).get("/replays").text


def test_a_slow_replay_is_stopped_with_the_console(
    bridge: Desk, look: psycopg.Connection[Any]
) -> None:
    """And stays open, to be gone on with."""
    for _ in range(5):
        insert(look, queue="order", state="completed")
    key = key_of(bridge.get("/replays/new", q="queue:order").text)
    bridge.post("/replays", q="queue:order", key=key, rate="0.5")
    eventually(lambda: look.execute("SELECT done FROM riverbridge_replay").fetchone() == (1,))
    bridge.close()
    assert look.execute("SELECT state, runner FROM riverbridge_replay").fetchone() == ("open", None)


def test_a_thousand_dead_letters_cancelled_half_way(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    """By their error, while a bridge delivers. One in the middle is held, where it waits."""
    look.execute(
        "INSERT INTO river_job"
        " (kind, queue, state, attempt, max_attempts, args, finalized_at, errors)"
        " SELECT 'order', 'order', 'discarded', 5, 5, jsonb_build_object('n', n), now(),"
        "  ARRAY[jsonb_build_object('at', now(), 'attempt', 5, 'trace', '', 'error',"
        "   CASE WHEN n <= 1000 THEN 'timed out at host ' || n ELSE 'no such order' END)]"
        " FROM generate_series(1, 1100) AS n"
    )
    sink = ScriptedSink()
    env = {"ROUTES__ORDERS__QUEUES": "order", "ROUTES__ORDERS__SINKS": "events"}
    office = desk(tables, extra={KNOWN: Known([ROUTE])})
    with (
        running_bridge(tables, {"events": sink}, env),
        tables.connect(autocommit=False) as holder,
    ):
        page = office.get("/replays/new", q='error:"timed out"', state="discarded", sink="events")
        assert "1 000 jobs to replay" in Markup(page.text).text.replace("\u202f", " ")
        holder.execute("SELECT FROM river_job WHERE args = '{\"n\": 501}' FOR UPDATE")
        form: dict[str, Any] = {
            "q": 'error:"timed out"',
            "state": "discarded",
            "sink": "events",
            "rate": "2000",
        }
        assert office.post("/replays", **form, key=key_of(page.text)).status_code == 303
        eventually(lambda: progress(office) == (500, 1000))
        assert "running" in Markup(office.get("/replays").text).text
        assert office.post("/replays/1/cancel").status_code == 303
        holder.rollback()
        eventually(lambda: not any(t.name == "replay-1" for t in threading.enumerate()))
        assert "cancelled" in Markup(office.get("/replays").text).text
        eventually(lambda: counted(look) == {"completed": 500, "discarded": 600})
    assert sorted(sink.job_ids) == list(range(1, 501))
    assert {dict(message.headers)["riverbridge-replay"] for _, message in sink.received} == {"1"}
    told = {"search": 'error:"timed out"', "state": "discarded", "sink": "events",
            "rate": 2000.0, "about": 1000}  # fmt: skip
    assert look.execute(
        "SELECT who, role, action, subject, before, after FROM riverbridge_audit ORDER BY id"
    ).fetchall() == [
        ("admin", "admin", "start", "replay 1", None, told),
        ("admin", "admin", "cancel", "replay 1", {"state": "open"},
         {"state": "cancelled", "done": 500, "skipped": 0}),
    ]  # fmt: skip


def progress(office: Desk) -> tuple[int, int] | None:
    """How far the page says that the replay has come, and of how many."""
    found = re.search(r'<progress max="(\d+)" value="(\d+)"', office.get("/replays").text)
    return None if found is None else (int(found[2]), int(found[1]))


def counted(look: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(look.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall())


def test_periodic_jobs(office: Desk, look: psycopg.Connection[Any]) -> None:
    look.execute(
        "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at, updated_at) VALUES"
        " ('nightly', 'cron x', now() + '1 h'::interval, now()),"
        " ('late', 's', now() - '5 m'::interval, now()),"
        " ('gone', 's', now() - '9 h'::interval, now() - '9 h'::interval)"
    )
    page = Markup(office.get("/periodic").text).text
    assert "nightly waits in 5" in page
    assert "late late 5 m ago" in page
    assert "gone no leader knows it" in page
    office.post("/periodic/pause", id="nightly")
    office.post("/periodic/run", id="nightly")
    assert "nightly runs now paused in 5" in Markup(office.get("/periodic").text).text
    office.post("/periodic/resume", id="nightly")
    assert "nightly runs now waits in 5" in Markup(office.get("/periodic").text).text
    assert office.post("/periodic/run", id="none").status_code == 404
