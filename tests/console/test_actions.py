"""Everything that can be done on a page, done in a browser: the database says so, and the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.browser import Browser
from tests.support.console import insert
from tests.support.console_house import House, house, to_do
from tests.support.database import Database
from tests.support.wait import eventually

ENTER = "\ue007"


class Hand(NamedTuple):
    """Somebody with a mouse; what the page shows, and what the database holds."""

    window: Browser
    look: psycopg.Connection[Any]
    home: House

    def open(self, path: str) -> None:
        self.window.open(f"{self.home.url}{path}")

    def click(self, xpath: str) -> None:
        eventually(lambda: self.window.clicked(xpath))

    def button(self, text: str, *, asked: bool = True) -> None:
        """Click it, and say yes if it asks."""
        self.click(f"//button[normalize-space()='{text}']")
        if asked:
            self.click("//dialog[@open]//button[@value='yes']")

    def write(self, xpath: str, text: str) -> None:
        """Into the field that is clicked."""
        self.click(xpath)
        self.window.press(text)

    def sees(self, *texts: str) -> None:
        eventually(lambda: all(text in self.window.text() for text in texts))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.look.execute(sql.encode()).fetchall()

    def states(self) -> list[str]:
        return [state for (state,) in self.rows("SELECT state::text FROM river_job ORDER BY id")]

    def job(self, **columns: Any) -> int:
        return insert(self.look, **{"kind": "order", "queue": "q", **columns})

    def event(self, body: bytes = b'{"type": "order"}') -> None:
        self.look.execute(
            "INSERT INTO riverbridge_quarantine (digest, source, event_id, topic, headers, body,"
            " reason) SELECT sha256(%s), 'shop', 'e', 'orders', '[]', %s, 'it was no use'",
            [body, body],
        )


def retry_what_is_selected(hand: Hand) -> None:
    first, _ = hand.job(state="discarded"), hand.job(state="discarded")
    hand.open("/jobs?state=discarded")
    hand.click(f"//input[@value='{first}']")
    hand.button("Retry")
    hand.sees("1 job made available")
    assert hand.states() == ["available", "discarded"]


def retry_a_sample(hand: Hand) -> None:
    hand.job(state="discarded", errors=[FAILED])
    hand.open("/dead-letters")
    hand.button("Retry sample")
    hand.sees("1 job made available", "Jobs / 1")
    assert hand.states() == ["available"]


def cancel_a_job(hand: Hand) -> None:
    id = hand.job()
    hand.open(f"/jobs/{id}")
    hand.button("Cancel")
    hand.sees("1 job cancelled")
    assert hand.states() == ["cancelled"]


def delete_what_is_selected(hand: Hand) -> None:
    hand.job()
    hand.job()
    hand.open("/jobs")
    hand.click("//input[@data-all]")
    hand.button("Delete")
    hand.sees("2 jobs deleted", "There are no jobs")
    assert hand.states() == []


def clone_a_job(hand: Hand) -> None:
    id = hand.job(args={"n": 1}, state="completed")
    hand.open(f"/jobs/{id}")
    hand.click("//a[text()='Clone…']")
    hand.write("//input[@name='tags']", "again")
    hand.button("Insert", asked=False)
    hand.sees("inserted as a copy of job 1")
    assert hand.rows("SELECT id, tags, args::text FROM river_job WHERE id > 1") == [
        (2, ["again"], '{"n": 1}')
    ]


def all_that_match(hand: Hand, kind: str) -> None:
    hand.job(kind="order", state="discarded", errors=[FAILED])
    hand.job(kind="order", state="discarded", errors=[FAILED | {"error": "no sku 9"}])
    hand.job(kind="mail", state="discarded", errors=[FAILED | {"error": "no such box"}])
    hand.open("/dead-letters")
    if kind == "group":
        hand.click("//tr[td/b='order']//a[text()='All of it…']")
        hand.sees("2 jobs match")
    else:
        hand.click("//a[text()='All that match…']")
        hand.sees("3 jobs match")
    with hand.home.operator():
        hand.button("Retry all")
        hand.sees("finished")
    done = ["available", "available", "discarded" if kind == "group" else "available"]
    assert hand.states() == done


def stop_an_operation(hand: Hand) -> None:
    hand.job(state="discarded")
    hand.open("/operations/new?q=kind:order")
    hand.button("Delete all")
    hand.sees("0 of about 1")
    hand.button("Stop")
    hand.sees("cancelled")
    assert hand.rows("SELECT state FROM riverbridge_operation") == [("cancelled",)]
    assert hand.states() == ["discarded"]


VIEW = (
    "INSERT INTO riverbridge_view (name, search, job_state, sort, owner)"
    " VALUES ('mine', 'kind:order', '', '', 'bob')"
)


def save_a_view(hand: Hand) -> None:
    hand.open("/jobs?q=kind:order")
    hand.click("//summary[text()='Save this view…']")
    hand.write("//input[@name='name']", "mine")
    hand.button("Save", asked=False)
    hand.sees("mine")
    assert hand.rows("SELECT name, search FROM riverbridge_view") == [("mine", "kind:order")]


def rename_a_view(hand: Hand) -> None:
    hand.look.execute(VIEW)
    hand.open("/views")
    hand.click("//summary[text()='Change…']")
    hand.write("//input[@name='name']", "\ue010, too")  # at its end
    hand.button("Rename", asked=False)
    hand.sees("mine, too")
    assert hand.rows("SELECT name FROM riverbridge_view") == [("mine, too",)]


def delete_a_view(hand: Hand) -> None:
    hand.look.execute(VIEW)
    hand.open("/views")
    hand.click("//summary[text()='Change…']")
    hand.button("Delete")
    eventually(lambda: hand.rows("SELECT name FROM riverbridge_view") == [])


def pause_a_queue(hand: Hand) -> None:
    hand.look.execute("INSERT INTO river_queue (name, updated_at) VALUES ('q', now())")
    hand.open("/queues")
    hand.button("Pause")
    hand.sees("queue q is paused")
    assert hand.rows("SELECT name FROM river_queue WHERE paused_at IS NOT NULL") == [("q",)]


def resume_a_queue(hand: Hand) -> None:
    hand.look.execute(
        "INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('q', now(), now())"
    )
    hand.open("/queues")
    hand.button("Resume", asked=False)
    hand.sees("queue q goes on")
    assert hand.rows("SELECT name FROM river_queue WHERE paused_at IS NULL") == [("q",)]


def a_periodic_job(hand: Hand, **columns: str) -> None:
    hand.look.execute(
        "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at, paused_at)"
        " VALUES ('nightly', 'cron x', now() + '1 h'::interval, %s)",
        [columns.get("paused_at")],
    )
    hand.open("/periodic")


def run_a_periodic_job(hand: Hand) -> None:
    a_periodic_job(hand)
    hand.button("Run now")
    hand.sees("periodic job nightly runs once now", "runs now")
    assert hand.rows("SELECT asked_at IS NULL, paused_at FROM riverbridge_periodic_job") == [
        (False, None)
    ]


def pause_a_periodic_job(hand: Hand) -> None:
    a_periodic_job(hand)
    hand.button("Pause")
    hand.sees("periodic job nightly is paused")
    assert hand.rows("SELECT paused_at IS NULL, asked_at FROM riverbridge_periodic_job") == [
        (False, None)
    ]


def resume_a_periodic_job(hand: Hand) -> None:
    a_periodic_job(hand, paused_at="2031-01-01Z")
    hand.button("Resume", asked=False)
    hand.sees("periodic job nightly goes on")
    assert hand.rows("SELECT paused_at FROM riverbridge_periodic_job") == [(None,)]


def pause(hand: Hand, what: str, name: str) -> None:
    hand.open("/routes")
    line = f"//tr[td/b='{name}' and .//input[@name='what' and @value='{what}']]"
    hand.click(f"{line}//summary")
    hand.write(f"{line}//input[@name='reason']", "the move")
    hand.click(f"{line}//button")
    hand.sees(f"{what} {name} is paused", "the move")
    assert hand.rows("SELECT what, name, paused_by, reason FROM riverbridge_pause") == [
        (what, name, "anybody", "the move")
    ]


def resume(hand: Hand, what: str, name: str) -> None:
    hand.look.execute(
        "INSERT INTO riverbridge_pause (what, name, paused_by) VALUES (%s, %s, 'bob')", [what, name]
    )
    hand.open("/routes")
    hand.button("Resume", asked=False)
    hand.sees(f"{what} {name} goes on")
    assert hand.rows("SELECT * FROM riverbridge_pause") == []


def retry_an_event(hand: Hand) -> None:
    hand.event()
    hand.open("/quarantine")
    hand.click("//td/input[@name='id']")
    hand.button("Retry")
    hand.sees("1 taken out, 0 stay", "Nothing lies here")
    assert hand.rows("SELECT kind FROM river_job") == [("order",)]
    assert hand.rows("SELECT id FROM riverbridge_quarantine") == []


def drop_an_event(hand: Hand) -> None:
    hand.event()
    hand.open("/quarantine/1")
    hand.button("Drop")
    hand.sees("1 dropped", "Nothing lies here")
    assert hand.rows("SELECT id FROM riverbridge_quarantine") == []


def replay(hand: Hand) -> None:
    hand.job(state="completed")
    hand.open("/replays/new")
    hand.write("//input[@name='q']", f"kind:order{ENTER}")
    hand.sees("1 job to replay")
    hand.write("//input[@name='rate']", "100")
    hand.button("Replay")
    hand.sees("replay 1 of 1 jobs", "finished")
    assert hand.states() == ["available"]
    assert hand.rows("SELECT done, rate FROM riverbridge_replay") == [(1, 100.0)]


OPEN = (
    "INSERT INTO riverbridge_replay (plan, started_by, after_id, last_id, total)"
    """ VALUES ('{"filter": {}, "routes": []}', 'bob', 0, 9, 9)"""
)


def cancel_a_replay(hand: Hand) -> None:
    hand.look.execute(OPEN)
    hand.open("/replays")
    hand.button("Cancel")
    hand.sees("replay 1 is cancelled")
    assert hand.rows("SELECT state FROM riverbridge_replay") == [("cancelled",)]


def go_on_with_a_replay(hand: Hand) -> None:
    hand.look.execute(OPEN)
    hand.open("/replays")
    hand.button("Go on", asked=False)
    hand.sees("replay 1 goes on", "finished")
    assert hand.rows("SELECT state FROM riverbridge_replay") == [("finished",)]


FAILED = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "no sku 1", "trace": ""}


class Action(NamedTuple):
    """path: of the form. do: in the browser, with what it changes. audit: what was entered."""

    path: str
    do: Callable[[Hand], None]
    audit: list[tuple[str, str]]


ENDED = [("retry all", "operation 1"), ("retry all ended", "operation 1")]
STOPPED = [("delete all", "operation 1"), ("delete all ended", "operation 1")]

ACTIONS = {
    "retry what is selected": Action("/jobs/retry", retry_what_is_selected, [("retry", "job 1")]),
    "retry a sample": Action("/jobs/retry", retry_a_sample, [("retry", "job 1")]),
    "cancel": Action("/jobs/cancel", cancel_a_job, [("cancel", "job 1")]),
    "delete": Action(
        "/jobs/delete", delete_what_is_selected, [("delete", "job 1"), ("delete", "job 2")]
    ),
    "clone": Action("/jobs/{id:int}/clone", clone_a_job, [("insert", "job 2")]),
    "retry a group": Action("/operations", lambda hand: all_that_match(hand, "group"), ENDED),
    "retry all": Action("/operations", lambda hand: all_that_match(hand, "all"), ENDED),
    "stop": Action("/operations/{id:int}/cancel", stop_an_operation, STOPPED),
    "save a view": Action("/views", save_a_view, [("save", "view 1")]),
    "rename a view": Action("/views/rename", rename_a_view, [("rename", "view 1")]),
    "delete a view": Action("/views/delete", delete_a_view, [("delete", "view 1")]),
    "pause a queue": Action("/queues/pause", pause_a_queue, [("pause", "queue q")]),
    "resume a queue": Action("/queues/resume", resume_a_queue, [("resume", "queue q")]),
    "run a periodic job": Action(
        "/periodic/run", run_a_periodic_job, [("run", "periodic job nightly")]
    ),
    "pause a periodic job": Action(
        "/periodic/pause", pause_a_periodic_job, [("pause", "periodic job nightly")]
    ),
    "resume a periodic job": Action(
        "/periodic/resume", resume_a_periodic_job, [("resume", "periodic job nightly")]
    ),
    "pause a route": Action(
        "/routes/pause", lambda hand: pause(hand, "route", "orders"), [("pause", "route orders")]
    ),
    "pause a sink": Action(
        "/routes/pause", lambda hand: pause(hand, "sink", "events"), [("pause", "sink events")]
    ),
    "resume a route": Action(
        "/routes/resume", lambda hand: resume(hand, "route", "orders"), [("resume", "route orders")]
    ),
    "resume a sink": Action(
        "/routes/resume", lambda hand: resume(hand, "sink", "events"), [("resume", "sink events")]
    ),
    "retry an event": Action("/quarantine/retry", retry_an_event, [("retry", "event 1")]),
    "drop an event": Action("/quarantine/drop", drop_an_event, [("drop", "event 1")]),
    "replay": Action("/replays", replay, [("start", "replay 1")]),
    "cancel a replay": Action(
        "/replays/{id:int}/cancel", cancel_a_replay, [("cancel", "replay 1")]
    ),
    "go on": Action("/replays/{id:int}/resume", go_on_with_a_replay, [("resume", "replay 1")]),
}


def test_every_action_is_tried() -> None:
    """A new one has to be added above."""
    assert {action.path for action in ACTIONS.values()} == set(to_do())


@pytest.fixture(scope="module")
def home(module_database: Database) -> Iterator[House]:
    with house(module_database) as served:
        yield served


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_it_does_what_it_says(
    window: Browser, home: House, tables: Database, look: psycopg.Connection[Any], name: str
) -> None:
    hand, action = Hand(window, look, home), ACTIONS[name]
    action.do(hand)
    found = hand.rows("SELECT action, subject FROM riverbridge_audit ORDER BY id")
    assert found == action.audit
    assert set(hand.rows("SELECT who, role, way FROM riverbridge_audit")) == {
        ("anybody", "admin", "open")
    }
    assert window.logged() == []
