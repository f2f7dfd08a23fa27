"""Discarded jobs, by what went wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.console.operations import Operator
from riverbridge.console.pages import dead_letters
from riverbridge.model.job_search import JobSearch
from riverbridge.sql import statement
from riverbridge.store.dead_letters import dead_letters as dead_letters_of
from tests.support.console import Desk, Markup, insert
from tests.support.running import running
from tests.support.wait import eventually


def failed(look: psycopg.Connection[Any], error: str, **columns: Any) -> int:
    """A discarded job whose last error this is."""
    at = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "trace": ""}
    errors = [at | {"error": "an earlier one"}, at | {"error": error}]
    return insert(look, **({"state": "discarded", "errors": errors, "attempt": 2} | columns))


def test_those_that_failed_alike_are_one_line(office: Desk, look: psycopg.Connection[Any]) -> None:
    failed(look, "timed out after 3 s\nat line 7", kind="mail")
    newest = failed(look, "timed out after 41.5 s", kind="mail")
    failed(look, "timed out after 3 s", kind="order")
    failed(look, "timed out after 3 s", kind="mail", state="completed")
    insert(look, kind="mute", state="discarded")
    page = Markup(office.get("/dead-letters").text)
    assert "mail timed out after * s 2 " in page.text
    assert "order timed out after * s 1 " in page.text
    assert "mute no error 1 " in page.text
    assert "4 jobs in 3 groups" in page.text
    assert f"/jobs/{newest}" in page.all("a", "href")
    only = Markup(office.get("/dead-letters", q="kind:ord*").text).text
    assert ("order timed" in only, "mail timed" in only, "1 job in 1 group" in only) == (
        True, False, True,
    )  # fmt: skip
    assert office.get("/dead-letters", q="kind:").status_code == 400


def test_a_group_is_retried_whole_and_nothing_else(
    office: Desk, look: psycopg.Connection[Any]
) -> None:
    """By the operation that any search is retried by, from the link that the page has."""
    group = [failed(look, f'no "sku" {n}', kind="a b") for n in range(3)]
    others = [
        failed(look, "no price 1", kind="a b"),
        failed(look, 'no "sku" 1', kind="c"),
        failed(look, 'no "sku" 1', kind="a c"),
    ]
    page = Markup(office.get("/dead-letters", q="kind:a* kind:c").text)
    (link, *_) = [one for one in page.all("a", "href") if "/operations/new" in one]
    query: dict[str, Any] = dict(parse_qsl(urlsplit(link).query))
    assert "3 jobs match" in Markup(office.get("/operations/new", **query).text).text
    assert office.post("/operations", action="retry", key="k" * 22, **query).status_code == 303
    with running(Operator(office.ground)):
        eventually(lambda: all(office.row(id)["state"] == "available" for id in group))
        eventually(lambda: ("admin", "retry all ended", "operation 1") in office.audit())
    assert [office.row(id)["state"] for id in others] == ["discarded"] * 3


def test_only_the_newest_are_looked_at(
    office: Desk, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "LOOKED", 3)
    for n in range(5):
        failed(look, "ancient" if n < 2 else "new")
    page = Markup(office.get("/dead-letters").text).text
    assert "Only the newest 3 discarded jobs" in page
    assert ("k new 3 " in page, "ancient" in page) == (True, False)


def test_it_does_not_read_the_table(look: psycopg.Connection[Any]) -> None:
    """But walks the index of finished jobs, and stops."""
    look.execute(
        "INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at, errors)"
        " SELECT 'k', 'q', 'discarded', 1, '{}', now() - n * interval '1 s',"
        " ARRAY[jsonb_build_object('error', 'no ' || n)] FROM generate_series(1, 20000) AS n"
    )
    look.execute("ANALYZE river_job")
    query = next(dead_letters_of(JobSearch(), most=500, words_in_args=True, schema=None))
    with look.transaction():
        look.execute(statement("transaction/interactive"))
        rows = look.execute(b"EXPLAIN " + statement(query.name), query.parameters).fetchall()
    plan = "\n".join(line for (line,) in rows)
    assert "Seq Scan" not in plan, plan
    assert "river_job_state_and_finalized_at_index" in plan
    assert send(look, query)[0][2] == 500
