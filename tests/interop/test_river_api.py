"""Our `/api` beside River UI's own program on one database: the same answers, the same effects."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.browser import Browser, browser, find_chromium
from tests.support.console_server import Said, Site, console_on, ground, served
from tests.support.database import Database
from tests.support.jobs import add, row
from tests.support.parts import part
from tests.support.river_front import front
from tests.support.river_ui import build_river_ui, river_ui
from tests.support.wait import eventually

pytestmark = pytest.mark.go

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FAILED = """ARRAY[
    '{"at": "2026-01-02T03:04:05.120000Z", "attempt": 1, "error": "no <b>", "trace": ""}',
    '{"at": "2026-01-02T03:04:06Z", "attempt": 2, "error": "é", "trace": "a\\nb"}'
]::jsonb[]"""
ARGS = """'{"big": 12345678901234567890, "b": [1.50, null], "a": "<é \\u2028>"}'"""
DONE = {"attempt": "1", "attempted_at": "now() - interval '2 s'", "attempted_by": "ARRAY['me']"}


class Pair(NamedTuple):
    """River UI and the console."""

    theirs: Site
    ours: Site
    look: psycopg.Connection[Any]

    def alike(self, method: str, path: str, body: Any = None) -> Said:
        """Ask both; ours, if they say the same."""
        theirs, ours = self.theirs.call(method, path, body), self.ours.call(method, path, body)
        assert (ours.status, ours.kind) == (theirs.status, "application/json"), (path, ours, theirs)
        assert plain(ours) == plain(theirs), path
        return ours


def plain(said: Said) -> Any:
    """What is to be equal: of a refusal, that there is a message; and not when a count was made."""
    if said.status >= 400:
        assert said.body["message"]
        return said.body.keys()
    return told(said.body)


def told(value: Any) -> Any:
    match value:
        case dict():
            return {key: told(item) for key, item in value.items() if key != "observed_at"}
        case list():
            return [told(item) for item in value]
        case str() if INSTANT.fullmatch(value):
            assert value.endswith("Z")
            return value
        case _:
            return value


@pytest.fixture(scope="module")
def pair(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with part("go"):
        program = build_river_ui()
    home = tmp_path_factory.mktemp("pair")
    with (
        river_ui(program, module_database, home) as ui,
        console_on(module_database) as ours,
        module_database.connect() as look,
    ):
        yield Pair(Site(ui.url), ours, look)


@pytest.fixture
def shop(pair: Pair) -> Pair:
    """Jobs of every state and some queues."""
    look = pair.look
    look.execute("TRUNCATE river_job, river_queue RESTART IDENTITY")
    for n, state in enumerate(["available", "pending", "retryable", "running", "scheduled"] * 2):
        began = DONE if state in ("running", "retryable") else {}
        failed = {"errors": FAILED} if state == "retryable" else {}
        add(look, state=f"'{state}'", kind=f"'kind_{n % 3}'", **began, **failed)
    for n, state in enumerate(["cancelled", "completed", "discarded"] * 3):
        ended = DONE | {"finalized_at": f"now() - interval '{9 - n} s'", "errors": FAILED}
        add(look, state=f"'{state}'", queue="'mail'", priority=str(1 + n % 4), **ended)
    add(look, args=ARGS, tags="ARRAY['one', 'two']", metadata=ARGS, kind="'odd%_kind'")
    add(look, args="'[]'", tags="ARRAY['two']", scheduled_at="now() + interval '1 h'")
    look.execute(
        "INSERT INTO river_queue (name, metadata, paused_at, updated_at) VALUES"
        " ('q', '{}', NULL, now()), ('mail', '{\"concurrency\": {}}', now(), now()),"
        ' (\'limited\', \'{"concurrency": {"global_limit": 3, "partition": {"by_kind": true}}}\','
        ' NULL, now()), (\'odd\', \'{"concurrency": {"global_limit": "x"}}\', NULL, now())'
    )
    return pair


QUESTIONS = [
    *(f"/api/jobs?state={state}" for state in (
        "available", "cancelled", "completed", "discarded", "pending", "retryable", "running",
        "scheduled", "nonsense", ""
    )),
    "/api/jobs", "/api/jobs?limit=1&state=completed", "/api/jobs?limit=-1", "/api/jobs?limit=1001",
    "/api/jobs?limit=x", "/api/jobs?limit=99999999999999999999", "/api/jobs?limit=%2B2",
    "/api/jobs?limit=1_0", "/api/jobs?limit=", "/api/jobs?state=available&limit=1000",
    "/api/jobs?state=available&kinds=kind_0&kinds=kind_1", "/api/jobs?state=available&kinds=none",
    "/api/jobs?state=available&tags=one&tags=none", "/api/jobs?state=available&tags=two",
    "/api/jobs?state=completed&queues=mail&queues=q", "/api/jobs?state=completed&queues=q",
    "/api/jobs?state=completed&priorities=2", "/api/jobs?state=completed&priorities=x",
    "/api/jobs?state=completed&priorities=0&priorities=3", "/api/jobs?state=completed&priorities=9",
    "/api/jobs?state=available&ids=1&ids=6&ids=x", "/api/jobs?state=available&ids=x",
    "/api/jobs?state=available&ids=-4", "/api/jobs?" + "&".join(["ids=1"] * 1001),
    "/api/jobs?" + "&".join(["kinds=a"] * 101), "/api/jobs?" + "&".join(["priorities=1"] * 11),
    "/api/jobs?" + "&".join(["queues=a"] * 101), "/api/jobs?" + "&".join(["tags=a"] * 101),
    *(f"/api/jobs/{id}" for id in (*range(1, 22), 0, -1, 404, "x", "1.0", 2**63 - 1, 2**63)),
    "/api/jobs/cancel", "/api/states", "/api/features",
    "/api/queues", "/api/queues?limit=2", "/api/queues?limit=x", "/api/queues?limit=-1",
    "/api/queues?limit=1001", "/api/queues/q", "/api/queues/mail", "/api/queues/limited",
    "/api/queues/odd", "/api/queues/none",
    "/api/health-checks/minimal", "/api/health-checks/complete", "/api/health-checks/none",
    "/api/autocomplete", "/api/autocomplete?facet=none", "/api/autocomplete?facet=job_kind",
    "/api/autocomplete?facet=job_kind&match=KIND_", "/api/autocomplete?facet=job_kind&match=d%25_k",
    "/api/autocomplete?facet=job_kind&after=kind_0&exclude=kind_2",
    "/api/autocomplete?facet=queue_name", "/api/autocomplete?facet=queue_name&match=M&after=a",
    "/api/autocomplete?facet=queue_name&exclude=mail&exclude=q",
]  # fmt: skip


def test_answers_as_river_ui_does(shop: Pair) -> None:
    for path in QUESTIONS:
        shop.alike("GET", path)
    states = shop.ours.get("/api/states").body
    assert {state["accuracy"] for state in states.values()} == {"exact"}
    version = shop.ours.get("/api/version").body
    assert version.keys() == shop.theirs.get("/api/version").body.keys()


def test_args_are_postgres_own_text(shop: Pair) -> None:
    [id] = shop.look.execute("SELECT id FROM river_job WHERE kind = 'odd%_kind'").fetchone() or [0]
    said = shop.ours.get(f"/api/jobs/{id}").body
    [text] = shop.look.execute(
        "SELECT args::text FROM river_job WHERE id = %s", (id,)
    ).fetchone() or [""]
    assert said["args"] == text


REFUSED = [
    b"", b"{}", b"null", b"[]", b"{", b'{"ids": null}', b'{"ids": []}', b'{"ids": "1"}',
    b'{"ids": [1.5]}', b'{"ids": ["x"]}', b'{"ids": [null]}', b'{"ids": [true]}', b'{"ids": [""]}',
    b'{"ids": ["9223372036854775808"]}', b'{"ids": [9223372036854775808]}', b'{"ids": ["1_0"]}',
    b'{"ids": [" 1"]}', b'{"ids": [0]}', b'{"ids": [-1]}', b'{"ids": ["404"]}',
    b'{"ids": [%s]}' % b",".join([b"1"] * 1001),
]  # fmt: skip


@pytest.mark.parametrize("action", ["cancel", "retry", "delete"])
def test_refuses_what_river_ui_refuses(shop: Pair, action: str) -> None:
    for body in REFUSED:
        said = shop.alike("POST", f"/api/jobs/{action}", body)
        assert 400 <= said.status < 500, body
    assert count(shop) == 21


ROWS: dict[str, dict[str, str]] = {
    "available": {},
    "later": {"scheduled_at": "now() + interval '1 h'"},
    "pending": {"state": "'pending'"},
    "scheduled": {"state": "'scheduled'", "scheduled_at": "now() + interval '1 h'"},
    "retryable": DONE | {"state": "'retryable'", "errors": FAILED},
    "running": DONE | {"state": "'running'"},
    **{
        state: DONE | {"state": f"'{state}'", "finalized_at": "now() - interval '1 h'"}
        for state in ("cancelled", "completed", "discarded")
    },
    "exhausted": DONE
    | {"state": "'discarded'", "finalized_at": "now() - interval '1 h'", "max_attempts": "1"},
}


@pytest.mark.parametrize("action", ["cancel", "retry", "delete"])
def test_leaves_rows_as_river_ui_does(shop: Pair, action: str) -> None:
    """On twin rows, named as texts and as numbers, all in one call."""
    for name, columns in ROWS.items():
        first = add(shop.look, **columns, queue="'twin'")
        second = add(shop.look, **columns, queue="'twin'")
        theirs = shop.theirs.call("POST", f"/api/jobs/{action}", {"ids": [str(first)]})
        ours = shop.ours.call("POST", f"/api/jobs/{action}", {"ids": [second]})
        assert (ours.status, plain(ours)) == (theirs.status, plain(theirs)), name
        assert twin(shop, second) == twin(shop, first), name


def test_a_call_is_done_whole_or_not_at_all(shop: Pair) -> None:
    for site, action in itertools.product((shop.theirs, shop.ours), ("cancel", "retry", "delete")):
        waiting = add(shop.look, queue="'whole'", scheduled_at="now() + interval '1 h'")
        before = row(shop.look, waiting)
        said = site.call("POST", f"/api/jobs/{action}", {"ids": [str(waiting), "404"]})
        assert said.status == 404
        assert row(shop.look, waiting) == before
    running = add(shop.look, **DONE, state="'running'")
    for site in (shop.theirs, shop.ours):
        said = site.call("POST", "/api/jobs/delete", {"ids": [str(waiting), str(running)]})
        assert (said.status, f"{running} is running" in said.body["message"]) == (400, True)
        assert row(shop.look, waiting) == before


def test_a_retry_that_a_unique_key_forbids_says_so(shop: Pair) -> None:
    unique = {"unique_key": "'\\x01'", "unique_states": "B'11110101'"}
    ended = {"state": "'cancelled'", "finalized_at": "now()"}
    holder, id = add(shop.look, **unique), add(shop.look, **unique, **ended)
    said = shop.alike("POST", "/api/jobs/retry", {"ids": [str(id)]})
    assert said.status == 409
    assert f"job {holder}" in said.body["message"]


QUEUE_CHANGES: list[bytes] = [
    b'{"concurrency": {"global_limit": 5, "partition": {"by_args": ["b", "a"], "by_kind": true}}}',
    b'{"concurrency": {}}', b'{"concurrency": {"global_limit": 1, "partition": null}}',
    b'{"concurrency": null}', b"{}", b"", b'{"concurrency": {"global_limit": -1}}',
    b'{"concurrency": {"local_limit": -1}}', b'{"concurrency": {"global_limit": 2147483648}}',
    b'{"concurrency": {"global_limit": "1"}}', b'{"concurrency": {"partition": {"by_args": []}}}',
    b'{"concurrency": []}', b'{"concurrency"', b'{"concurrency": {"global_limit": null, "x": 1}}',
]  # fmt: skip


def test_changes_queues_as_river_ui_does(shop: Pair, module_database: Database) -> None:
    with module_database.connect() as listener:
        listener.execute('LISTEN "public.river_control"')
        for body in QUEUE_CHANGES:
            heard, rows, answers = [], [], []
            for site in (shop.theirs, shop.ours):
                before = queue_row(shop)
                said = site.call("PATCH", "/api/queues/limited", body)
                answers.append((said.status, {**_named(said), "updated_at": None}))
                changed = queue_row(shop)["updated_at"] > before["updated_at"]
                rows.append(queue_row(shop) | {"updated_at": changed})
                heard.append([note.payload for note in listener.notifies(timeout=0.05)])
            assert answers[0] == answers[1], body
            assert rows[0] == rows[1], body
            assert len(heard[0]) == len(heard[1]), body
    assert shop.alike("PATCH", "/api/queues/none", b'{"concurrency": null}').status == 404


def test_pauses_and_resumes_as_river_ui_does(shop: Pair, module_database: Database) -> None:
    with module_database.connect() as listener:
        listener.execute('LISTEN "public.river_control"')
        for action, name in itertools.product(("pause", "resume"), ("limited", "*", "none")):
            path = f"/api/queues/{name}/{action}"
            said = [site.call("PUT", path) for site in (shop.theirs, shop.ours)]
            assert (said[0].status, plain(said[0])) == (said[1].status, plain(said[1]))
            assert (queue_row(shop)["paused_at"] is not None) == (action == "pause")
            heard = [note.payload for note in listener.notifies(timeout=0.05)]
            assert heard[::2] == heard[1::2]
            assert len(heard) == (0 if name == "none" else 2)


def test_every_change_is_in_the_audit(shop: Pair) -> None:
    shop.look.execute("TRUNCATE riverbridge_audit")
    shop.ours.call("POST", "/api/jobs/cancel", {"ids": ["1", "2"]})
    shop.ours.call("POST", "/api/jobs/cancel", {"ids": ["3", "404"]})
    shop.ours.call("PUT", "/api/queues/q/pause")
    found = shop.look.execute("SELECT action, subject FROM riverbridge_audit ORDER BY id")
    assert found.fetchall() == [("cancel", "job 1"), ("cancel", "job 2"), ("pause", "queue q")]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with part("browser"):
        find_chromium()
    with browser(tmp_path) as opened:
        yield opened


def test_rivers_front_end_works_on_it(
    shop: Pair, module_database: Database, window: Browser
) -> None:
    from riverbridge.console.app import console

    def sees(*texts: str) -> None:
        eventually(lambda: all(text in window.text() for text in texts))

    def click(xpath: str) -> None:
        eventually(lambda: window.clicked(xpath))

    later = datetime.now(UTC) + timedelta(hours=1)
    id = add(shop.look, kind="'shown'", args=ARGS, state="'scheduled'", scheduled_at=f"'{later}'")
    base = ground(module_database)
    with served(front(console(base))) as site:
        window.open(f"{site.url}/jobs?state=scheduled")
        sees("shown", "12345678901234567890", "Discarded")
        window.open(f"{site.url}/jobs/{id}")
        sees("shown", "Scheduled")
        click("//button[normalize-space()='Cancel']")
        eventually(lambda: row(shop.look, id)["state"] == "cancelled")
        sees("Cancelled")
        click("//button[normalize-space()='Retry']")
        eventually(lambda: row(shop.look, id)["state"] == "available")
        window.open(f"{site.url}/queues")
        sees("limited", "Pause, limited")
        click("//button[contains(., 'Pause, limited')]")
        sees("Resume, limited")
        assert queue_row(shop)["paused_at"] is not None
        assert window.logged() == []
    base.close()


def count(shop: Pair) -> int:
    found = shop.look.execute("SELECT count(*) FROM river_job").fetchone()
    return int(found[0]) if found else 0


def queue_row(shop: Pair) -> dict[str, Any]:
    cursor = shop.look.execute("SELECT * FROM river_queue WHERE name = 'limited'")
    [values] = cursor.fetchall()
    return {
        column.name: value for column, value in zip(cursor.description or (), values, strict=True)
    }


def twin(shop: Pair, id: int) -> dict[str, Any] | None:
    """What a row says but for which it is; an instant by how many minutes it is from now."""
    if shop.look.execute("SELECT FROM river_job WHERE id = %s", (id,)).fetchone() is None:
        return None
    found = row(shop.look, id)
    del found["id"]
    found["metadata"] = found["metadata"].keys()
    now = datetime.now(UTC)
    return {
        name: round((value - now).total_seconds() / 60) if isinstance(value, datetime) else value
        for name, value in found.items()
    }


def _named(said: Said) -> dict[str, Any]:
    return dict(said.body) if said.status < 400 else dict.fromkeys(said.body)
