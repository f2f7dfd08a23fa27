"""Views of the jobs list: saved, renamed and deleted, and shown to everybody."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from riverbridge.console.frame import Role
from riverbridge.console.redaction import Redaction, Rule
from riverbridge.model.job_search import parse_search
from riverbridge.sql import statement
from riverbridge.store.views import MOST
from tests.support.console import Desk, Markup, basic, desk, insert
from tests.support.database import Database


def shown(office: Desk) -> dict[str, str]:
    """The views above the list, by name."""
    text = office.get("/jobs").text
    nav = text[text.index('aria-label="Views"') : text.index('role="search"')]
    return {
        " ".join(Markup(link).words).strip(): Markup(link).all("a", "href")[0]
        for link in re.findall(r"<a .*?</a>", nav)
    }


def jobs_of(office: Desk, address: str) -> list[int]:
    answer = office.client().get(address)
    assert answer.status_code == 200, answer.text
    return Markup(answer.text).ids()


def saved(office: Desk, name: str, **asked: str) -> Any:
    return office.post("/views", Role.OPERATOR, name=name, **asked)


def id_of(office: Desk) -> int:
    return int(office.audit()[-1][2].removeprefix("view "))


def test_a_view_that_one_saves_is_there_for_another(
    office: Desk, look: psycopg.Connection[Any]
) -> None:
    wanted = insert(look, kind="order.placed", state="discarded")
    insert(look, kind="order.placed")
    insert(look, kind="mail", state="discarded")
    answer = saved(office, "  Lost orders ", q="kind:order.*", state="discarded", after="xyz")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/jobs?state=discarded&q=kind%3Aorder.%2A"
    viewer = Desk(office.database, office.ground, office.app, Role.VIEWER)
    address = shown(viewer)["Lost orders"]
    assert jobs_of(viewer, address) == [wanted]
    page = viewer.client().get(address).text
    assert re.search(r'aria-current="page">Lost orders</a>', page)
    assert 'action="/views"' not in page
    listed = viewer.get("/views").text
    assert "operator" in Markup(listed).text
    assert "/views/delete" not in listed


def test_it_is_renamed_and_deleted_and_the_audit_says_so(office: Desk) -> None:
    saved(office, "one", q="kind:k", sort="-time")
    id = id_of(office)
    for name in ("two", "two"):  # to the name it has, too
        assert office.post("/views/rename", id=id, name=name).status_code == 303
    assert {"two"} == set(shown(office)) & {"one", "two"}
    assert office.post("/views/delete", id=id).status_code == 303
    assert not {"one", "two"} & set(shown(office))
    for path in ("/views/delete", "/views/rename"):
        answer = office.post(path, id=id, name="three")
        assert answer.status_code == 404
        assert "no such view any more" in answer.text
    assert [action for _, action, _ in office.audit()] == ["save", "rename", "rename", "delete"]
    assert {who for who, _, _ in office.audit()} == {"operator", "admin"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": ""}, "name: has 0 characters"),
        ({"name": "x" * 61}, "name: has 61 characters; a view&#39;s has 1 to 60"),
        ({"name": "a\nb"}, "one line without control characters"),
        ({"name": "a\u202eb"}, "one line without control characters"),
        ({"name": "there"}, "there is a view there already"),
        ({"name": "stuck RUNNING"}, "is there already, for everybody"),
        ({"q": "", "state": ""}, "this is every job"),
        ({"q": "foo:bar"}, "is nothing to search for"),
        ({"q": "x" * 2001}, "the search has 2001 characters"),
        ({"q": "args.card.number:4"}, "is not shown here"),
        ({"state": "lost"}, "state: there is none such"),
        ({"sort": "args; DROP TABLE river_job"}, "sort: there is none such"),
    ],
)
def test_what_is_no_view_is_refused(tables: Database, given: dict[str, Any], why: str) -> None:
    office = desk(tables, redaction=Redaction([Rule.parse("card.number")]))
    assert saved(office, "there", q="kind:k").status_code == 303
    asked: dict[str, Any] = {"name": "new", "q": "kind:k", "state": "running"}
    answer = office.post("/views", **(asked | given))
    assert (answer.status_code, why in answer.text) == (400, True), answer.text
    assert len(office.audit()) == 1


def test_there_are_only_so_many(office: Desk, look: psycopg.Connection[Any]) -> None:
    look.execute(
        "INSERT INTO riverbridge_view (name, search, job_state, sort, owner)"
        " SELECT 'v' || n, 'kind:k', '', '', 'a' FROM generate_series(2, %s) AS n",
        [MOST],
    )
    assert saved(office, "the last", q="kind:k").status_code == 303
    answer = saved(office, "one more", q="kind:k")
    assert answer.status_code == 400
    assert f"there are {MOST} views, and {MOST} at most" in answer.text
    answer = office.post("/views/rename", id=id_of(office), name="v2")
    assert answer.status_code == 400
    assert "there is a view v2 already" in answer.text


def test_a_browser_saves_one_with_the_token_of_the_page(office: Desk) -> None:
    client = office.client(**basic("operator"))
    fields = {"name": "mine", "q": "kind:k"}
    assert client.post("/views", data=fields).status_code == 403
    page = Markup(client.get("/jobs", params={"q": "kind:k"}).text)
    [form] = [attrs for tag, attrs in page.elements
              if tag == "form" and attrs.get("action") == "/views"]  # fmt: skip
    token = client.cookies["riverbridge"]
    assert form["method"] == "post"
    assert client.post("/views", data=fields | {"csrf": token}).status_code == 303
    assert "view mine is saved" in client.get("/jobs").text


def test_those_that_are_always_there(office: Desk, look: psycopg.Connection[Any]) -> None:
    failing = insert(look, state="retryable", attempt=1)
    stuck = insert(look, state="running", attempt=1, age=7200)
    insert(look, state="running", attempt=1)
    lost = insert(look, state="discarded", attempt=1)
    old = insert(look, state="discarded", attempt=1)
    look.execute("UPDATE river_job SET finalized_at = now() - interval '2 d' WHERE id = %s", [old])
    views = shown(office)
    del views["All views"]
    assert {name: jobs_of(office, address) for name, address in views.items()} == {
        "Failing now": [failing],
        "Stuck running": [stuck],
        "Discarded today": [lost],
    }


def test_what_was_discarded_lately_is_found_by_its_index(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    """Whatever was discarded before is not read for it."""
    look.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args, state, finalized_at)"
        " SELECT 'k', 'q', 5, '{}', 'discarded', now() - n * interval '1 minute'"
        " FROM generate_series(1, 20000) AS n"
    )
    look.execute("ANALYZE river_job")
    values = parse_search("state:discarded finished:1h", datetime.now(UTC)).parameters() | {
        "sorted_by": "finalized_at", "descending": True, "walking": False, "words_in_args": True,
        "after_id": None, "after_time": None, "window": 201, "limit": 50,
    }  # fmt: skip
    query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("job/search")
    row = look.execute(query, values, prepare=False).fetchone()
    assert row is not None
    plan = str(row[0])
    assert "river_job_state_and_finalized_at_index" in plan
    assert "finalized_at >=" in plan.partition("Index Cond")[2].partition("'Filter'")[0]


def test_the_list_needs_no_table_of_ours(office: Desk, look: psycopg.Connection[Any]) -> None:
    look.execute("ALTER TABLE riverbridge_view RENAME TO elsewhere")
    try:
        assert "Failing now" in shown(office)
        assert office.get("/views").status_code == 503
    finally:
        look.execute("ALTER TABLE elsewhere RENAME TO riverbridge_view")


def test_its_link_is_below_the_path_of_its_database(tables: Database) -> None:
    office = desk(tables, others={"other": tables})
    saved(office, "mine", q="kind:k")
    page = Markup(office.get("/on/other/jobs").text)
    assert "/on/other/jobs?q=kind%3Ak" in page.all("a", "href")
