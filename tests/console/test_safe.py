"""What jobs say is shown, and never done."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import unquote

import psycopg
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from riverbridge.console.pages import PAGES
from riverbridge.console.redaction import Redaction, Rule
from tests.support.console import SITE, Desk, Markup, bearer, desk, insert
from tests.support.console_rows import EVIL, fill
from tests.support.database import Database

OURS = {"tail.js", "theme.js", "htmx.min.js", "console.js"}


def harmless(text: str) -> Markup:
    """The page, having looked whether anything in it would run or load what is not ours."""
    page = Markup(text)
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert {re.sub(r".*/static/|\?.*", "", attrs["src"]) for attrs in scripts} <= OURS
    for tag, attrs in page.elements:
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert not [name for name in attrs if name.startswith("on") or name == "style"], attrs
        for name in ("href", "src", "action", "formaction"):
            if name in attrs:
                assert re.match(r"/(?!/)|#main$", attrs[name]), attrs
    assert [attrs["src"] for tag, attrs in page.elements if tag == "img"] == [
        page.all("link", "href")[0]
    ]
    assert "10003" not in page.text.replace("7*1429", "")
    return page


@pytest.fixture
def evil(look: psycopg.Connection[Any]) -> int:
    return fill(look, EVIL)


def test_no_page_does_what_jobs_say(office: Desk, evil: int) -> None:
    paths = [page.path.replace("{id:int}", str(evil)) for page in PAGES if "GET" in page.methods]
    pages = [path for path in paths if "/static/" not in path and not path.startswith("/api/")]
    operation = "/operations/1"
    seen = 0
    for path in {*pages, operation} - {f"/operations/{evil}"} | {operation}:
        query = {"q": "kind:*"} if path == "/operations/new" else {}
        answer = office.get(path, **query)
        assert answer.status_code == 200, (path, answer.text)
        seen += "onerror" in harmless(answer.text).text
    assert seen >= 14  # it is there to be read, all over
    assert "alert(2)" in harmless(office.get("/jobs", state="running").text).text


@pytest.mark.parametrize(
    "name",
    ["q", "state", "sort", "after", "who", "subject", "before", "source", "reason", "sink"],
)
def test_no_page_does_what_its_address_says(office: Desk, name: str) -> None:
    for path in ("/jobs", "/audit", "/operations/new", "/dead-letters", "/quarantine",
                 "/replays/new"):  # fmt: skip
        answer = office.get(path, **{name: EVIL})
        assert answer.status_code in (200, 400)
        harmless(answer.text)


def test_what_is_said_after_an_action_is_text(office: Desk) -> None:
    client = office.client()
    client.cookies.set("riverbridge_said", base64.urlsafe_b64encode(EVIL.encode()).decode())
    answer = client.get("/queues")
    assert "onerror" in harmless(answer.text).text
    assert 'riverbridge_said=""' in answer.headers["set-cookie"]


def links(page: Markup) -> set[str]:
    return {
        attrs[name]
        for _, attrs in page.elements
        for name in ("href", "src", "action", "formaction", "data-href")
        if name in attrs
    }


@pytest.mark.parametrize("way", ["prefix", "mount"])
def test_under_a_prefix(tables: Database, look: psycopg.Connection[Any], way: str) -> None:
    id = insert(look, state="discarded")
    office = desk(tables, prefix="/tools/jobs" if way == "prefix" else "")
    app = office.app if way == "prefix" else Starlette(routes=[Mount("/tools/jobs", office.app)])
    client = TestClient(app, base_url=SITE, headers=bearer(office.role), follow_redirects=False)
    for path in ("/", "/jobs", f"/jobs/{id}", "/queues", "/on/main/jobs"):
        answer = client.get(f"/tools/jobs{path}")
        assert answer.status_code == 200, path
        assert links(Markup(answer.text))
        for link in links(Markup(answer.text)) - {"#main"}:
            assert link.startswith("/tools/jobs/"), link
    for link in links(Markup(answer.text)):
        if "/static/" in link:
            assert client.get(link).status_code == 200
    went = client.post("/tools/jobs/jobs/retry", data={"id": id, "job": 1})
    assert went.headers["location"] == f"/tools/jobs/jobs/{id}"
    assert client.get("/jobs").status_code == 404


@pytest.mark.parametrize(
    "path", ["//evil.example/", "//evil.example/jobs/", "/jobs/", "/queues/", "/on/main",
             "/static/../frame.py", "/static/%2e%2e%2fframe.py", "/static/README.md",
             "/on/other/jobs", "/jobs/x", "/jobs/99999999999999999999999"],
)  # fmt: skip
def test_paths_that_lead_nowhere(office: Desk, path: str) -> None:
    answer = office.client().get(f"{SITE}{path}")
    assert answer.status_code in (400, 404)
    assert "location" not in answer.headers


def test_forwarded_names_are_nobody_s(office: Desk) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "//evil.example"}
    answer = office.client().get("/jobs", headers=headers)
    assert "evil" not in answer.text


def test_what_is_redacted_is_not_told(tables: Database, look: psycopg.Connection[Any]) -> None:
    card = {"card": {"number": "4111", "owner": "Ann"}, "password": "4111"}
    id = insert(look, kind="payment.made", args=card | {"list": [{"number": "4111"}]})
    rules = ["payment.*:card.number", "password", "list.*.number"]
    office = desk(tables, redaction=Redaction([Rule.parse(rule) for rule in rules]))
    for path in (f"/jobs/{id}", "/jobs", f"/jobs/{id}/clone"):
        text = office.get(path).text
        assert "Ann" in text
        assert "4111" not in text
    for search in ("args.card.number:4111", "args.password:x", "args.list[].number:4111"):
        answer = office.get("/jobs", q=search)
        assert answer.status_code == 400
        assert "is not shown here" in answer.text
    assert Markup(office.get("/jobs", q="4111").text).ids() == []
    assert Markup(office.get("/jobs", q="args.card.owner:Ann").text).ids() == [id]


def test_a_copy_keeps_what_was_not_shown(tables: Database, look: psycopg.Connection[Any]) -> None:
    id = insert(look, kind="pay", args={"card": "4111", "sum": 5})
    office = desk(tables, redaction=Redaction([Rule.parse("pay:card")]))
    page = office.get(f"/jobs/{id}/clone").text
    args = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)
    assert args is not None
    text = args[1].replace("&#34;", '"').replace("5", "6")
    fields: dict[str, Any] = {
        "queue": "q",
        "priority": "1",
        "max_attempts": "3",
        "tags": "one, two",
        "args": text,
    }
    stolen = office.post(f"/jobs/{id}/clone", kind="shown", **fields)
    assert (stolen.status_code, "4111" in stolen.text) == (400, False)
    went = office.post(f"/jobs/{id}/clone", kind="pay", **fields)
    assert went.status_code == 303, Markup(went.text).text
    new = office.row(int(unquote(went.headers["location"]).rpartition("/")[2]))
    assert new["args"] == {"card": "4111", "sum": 6}
    assert (new["tags"], new["max_attempts"]) == (["one", "two"], 3)
    assert office.audit() == [("admin", "insert", f"job {new['id']}")]
