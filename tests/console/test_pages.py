"""What the pages show, and what they change."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.operations import Operator
from riverbridge.console.pages import PAGES
from riverbridge.console.pages import operations as operations_of_console
from riverbridge.console.pages.jobs import PAGE
from riverbridge.model.job import JobState
from riverbridge.model.job_search import JobSearch
from riverbridge.store import search as search_of_store
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.operations import count_matching
from riverbridge.store.search import job_search
from tests.support.console import Desk, Markup, desk, insert
from tests.support.database import Database
from tests.support.running import running
from tests.support.wait import eventually

ERROR = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "it timed out", "trace": "line 7"}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("kind:order.*", "ab"),
        ("kind:order.placed kind:mail", "ac"),
        ("-kind:order.*", "cd"),
        ("queue:two", "b"),
        ("-queue:one", "bd"),
        ("args.customer.id:42", "ab"),
        ('args.customer.id:"42"', "b"),
        ("args.items[].sku:x", "c"),
        ("metadata.tenant:acme", "d"),
        ("tag:eu", "ad"),
        ("tag:eu -tag:vip", "a"),
        ("error:timed", "d"),
        ("error:TIMED error:7", "d"),
        ("error:it*out", "d"),
        ("error:out*it", ""),
        ("-error:timed", "abc"),
        ("priority:3", "c"),
        ("worker:w-1", "d"),
        ("since:30m", "abc"),
        ("until:30m", "d"),
        ("finished:1h", ""),
        ("acme", "d"),
        ("customer -order.placed", "b"),
        ("100%", ""),
        ("_order", ""),
        ("kind:order.placed args.customer.id:43", ""),
    ],
)
def test_searches(office: Desk, look: psycopg.Connection[Any], search: str, found: str) -> None:
    ids = {
        "a": insert(look, kind="order.placed", queue="one", args={"customer": {"id": 42}},
                    tags=["eu"]),
        "b": insert(look, kind="order.shipped", queue="two", args={"customer": {"id": "42"}}),
        "c": insert(look, kind="mail", queue="one", args={"items": [{"sku": "x"}]}, priority=3),
        "d": insert(look, kind="x", queue="three", metadata={"tenant": "acme"}, age=7200,
                    tags=["eu", "vip"], errors=[ERROR], attempted_by=["w-0", "w-1"], attempt=2),
    }  # fmt: skip
    answer = office.get("/jobs", q=search)
    assert answer.status_code == 200, answer.text
    names = {id: name for name, id in ids.items()}
    assert "".join(sorted(names[id] for id in Markup(answer.text).ids())) == found


@pytest.mark.parametrize("sort", ["", "id", "-time", "time", "scheduled_at"])
@pytest.mark.parametrize("state", ["", "completed", "available"])
def test_pages_in_order_show_each_job_once(
    office: Desk, look: psycopg.Connection[Any], sort: str, state: str
) -> None:
    for number in range(PAGE + 8):
        insert(look, state="completed" if number % 3 else "available")
    path: str | None = "/jobs"
    query = {"sort": sort, "state": state}
    seen: list[int] = []
    while path:
        page = Markup(office.client().get(path, params=query or None).text)
        seen += page.ids()
        path = next((a["href"] for t, a in page.elements if a.get("rel") == "next"), None)
        query = {}
    wanted = look.execute(
        "SELECT id FROM river_job WHERE state = %s::text::river_job_state OR %s::text = ''",
        [state or "available", state],
    ).fetchall()
    assert sorted(seen) == sorted(id for (id,) in wanted)
    if sort in ("", "id"):
        assert seen == sorted(seen, reverse=not sort)


def test_a_search_that_is_cut_says_so_and_goes_on(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    look.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args)"
        " SELECT 'k', 'q', 5, jsonb_build_object('n', n) FROM generate_series(1, 1200) AS n"
    )
    clock = iter(range(100))
    database = desk(tables).ground.databases["main"]

    def page(after: str | None) -> Any:
        search = JobSearch(words=('"n": 7}',))
        return database.read(
            job_search(search, after=after, monotonic=lambda: float(next(clock)) * 3, schema=None)
        )

    first = page(None)
    assert (first.jobs, first.examined, first.cut) == ([], 500, True)
    second = page(first.after)
    assert (second.jobs, second.cut) == ([], True)
    last = page(second.after)
    assert [job.args for job in last.jobs] == [{"n": 7}]
    assert (last.after, last.cut) == (None, False)


@pytest.mark.parametrize("most", [0, 1e9], ids=["walking", "gathering"])
@pytest.mark.parametrize("sort", ["id", "time"])
def test_each_way_to_a_page_finds_the_same_jobs(
    tables: Database,
    look: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    most: float,
    sort: Any,
) -> None:
    """A kind that only the oldest jobs are of, and one in ten of the others."""
    monkeypatch.setattr(search_of_store, "COST_MAX", most)
    look.execute(
        "INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at)"
        " SELECT CASE WHEN n <= 25 OR n % 10 = 0 THEN 'a' ELSE 'b' END, 'q', 'completed', 5, '{}',"
        " now() + n * interval '1 s' FROM generate_series(1, 300) AS n"
    )
    wanted = JobSearch(states=(JobState.COMPLETED,), kinds=("a",))
    database = desk(tables).ground.databases["main"]
    found, after = [], None
    for _ in range(10):
        page = database.read(job_search(wanted, sort=sort, after=after, limit=7, schema=None))
        found += [job.id for job in page.jobs]
        if (after := page.after) is None:
            break
    assert found == [n for n in range(300, 0, -1) if n <= 25 or n % 10 == 0]


def test_an_order_that_no_index_has_is_refused_where_jobs_are_too_many(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(look)
    office = desk(tables)
    assert office.get("/jobs", sort="time").status_code == 200
    monkeypatch.setattr(search_of_store, "COST_MAX", 0)
    page = office.get("/jobs", sort="time")
    assert (page.status_code, "too many such jobs" in page.text) == (400, True)


def test_counting_ends_in_time_and_says_so(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    look.execute(
        "INSERT INTO river_job (id, kind, queue, max_attempts, args)"
        " SELECT n * 1000, 'k', 'q', 5, '{}' FROM generate_series(1, 100) AS n"
    )
    office = desk(tables)
    assert "<h1>100 jobs match" in office.get("/operations/new", q="kind:k").text
    database = office.ground.databases["main"]
    clock = iter(range(100))
    counting = count_matching(
        JobSearch(kinds=("k",)), limit=99, words_in_args=True,
        monotonic=lambda: float(next(clock)), schema=None,
    )  # fmt: skip
    assert database.read(counting) == (20, False)
    monkeypatch.setattr(operations_of_console, "COUNTED", 30)
    assert "<h1>At least 30 jobs match" in office.get("/operations/new", q="kind:k").text


def test_args_are_found_by_their_index(tables: Database, look: psycopg.Connection[Any]) -> None:
    from riverbridge.sql import statement

    look.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args) SELECT 'k', 'q', 5,"
        " jsonb_build_object('customer', jsonb_build_object('id', n))"
        " FROM generate_series(1, 20000) AS n"
    )
    look.execute("VACUUM ANALYZE river_job")  # which also ends what waits to be indexed
    search = JobSearch(args=('{"customer":{"id":7}}', '{"customer":{"id":"7"}}'))
    values = search.parameters() | {
        "sorted_by": "id", "descending": True, "walking": False, "words_in_args": True,
        "after_id": None, "after_time": None, "window": 201, "limit": 50,
    }  # fmt: skip
    plan = look.execute(b"EXPLAIN " + statement("job/search"), values, prepare=False).fetchall()
    assert "river_job_args_index" in "\n".join(line for (line,) in plan)


def test_a_job_shows_what_happened_to_it(office: Desk, look: psycopg.Connection[Any]) -> None:
    id = insert(
        look, kind="talk", state="completed", attempt=2, attempted_by=["w-1", "w-2"],
        errors=[ERROR], args={"big": 9007199254740993},
        metadata={
            "river:log": [{"attempt": 2, "log": "second\nline"}], "output": {"pages": 3},
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )  # fmt: skip
    look.execute(
        "INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt)"
        " VALUES (%s, 'events', 2, 'orders[1]@7')",
        [id],
    )
    text = Markup(office.get(f"/jobs/{id}").text).text
    for part in ("talk completed", "2 of 25", "9007199254740993", '"pages": 3', "orders[1]@7",
                 "it timed out", "line 7", "second line", "w-1", "w-2", "attempt 1 failed",
                 "4bf92f3577b34da6a3ce929d0e0e4736"):  # fmt: skip
        assert part in text, part
    assert office.get("/jobs/999").status_code == 404


def test_acting_on_what_is_selected(office: Desk, look: psycopg.Connection[Any]) -> None:
    failed, waiting = insert(look, state="discarded"), insert(look)
    running = insert(look, state="running", attempt=1)
    answer = office.post("/jobs/retry", role=Role.OPERATOR, id=[failed, 999], state="discarded")
    assert answer.headers["location"] == "/jobs?state=discarded"
    assert office.row(failed)["state"] == "available"
    office.post("/jobs/cancel", id=[waiting])
    assert office.row(waiting)["state"] == "cancelled"
    answer = office.post("/jobs/delete", id=[waiting, running])
    assert office.row(waiting) is None
    assert office.row(running)["state"] == "running"
    assert office.post("/jobs/delete", role=Role.OPERATOR, id=[failed]).status_code == 403
    assert office.audit() == [
        ("operator", "retry", f"job {failed}"),
        ("admin", "cancel", f"job {waiting}"),
        ("admin", "delete", f"job {waiting}"),
    ]
    entries = look.execute("SELECT before ->> 'state', after ->> 'state' FROM riverbridge_audit")
    assert entries.fetchall() == [
        ("discarded", "available"), ("available", "cancelled"), ("cancelled", None),
    ]  # fmt: skip
    text = Markup(office.get("/audit", subject=f"job {waiting}").text).text
    assert f"delete job {waiting}" in text
    assert f"job {failed}" not in text


@pytest.mark.parametrize("ids", [[], ["x"], ["-1"], ["1"] * 1001, ["9" * 25]])
def test_ids_that_are_none(office: Desk, ids: list[str]) -> None:
    assert office.post("/jobs/retry", id=ids).status_code == 400


def test_nothing_is_changed_that_cannot_be_audited(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    id = insert(look, state="discarded")
    look.execute("ALTER TABLE riverbridge_audit RENAME TO elsewhere")
    try:
        answer = desk(tables).post("/jobs/retry", id=[id])
        assert (answer.status_code, "riverbridge migrate up" in answer.text) == (503, True)
        assert desk(tables).row(id)["state"] == "discarded"
    finally:
        look.execute("ALTER TABLE elsewhere RENAME TO riverbridge_audit")


def test_queues_are_paused_and_go_on(office: Desk, look: psycopg.Connection[Any]) -> None:
    look.execute("INSERT INTO river_queue (name, updated_at) VALUES ('mail', now())")
    insert(look, queue="mail", age=5)
    office.post("/queues/pause", name="mail")
    text = Markup(office.get("/queues").text).text
    assert "mail paused 1" in text
    assert look.execute("SELECT paused_at IS NOT NULL FROM river_queue").fetchone() == (True,)
    office.post("/queues/resume", name="mail")
    assert "mail active 1" in Markup(office.get("/queues").text).text
    assert office.post("/queues/pause", name="none").status_code == 404
    assert [entry[1] for entry in office.audit()] == ["pause", "resume"]


def start(office: Desk, **fields: Any) -> Any:
    given = {"key": "k" * 22, "action": "retry", "state": "discarded"} | fields
    return office.post("/operations", **given)


def test_an_operation_is_done_to_all_that_match(
    office: Desk, look: psycopg.Connection[Any]
) -> None:
    look.execute(
        "INSERT INTO river_job (args, kind, queue, max_attempts, state, finalized_at, attempt)"
        " SELECT '{}', CASE n % 2 WHEN 0 THEN 'k' ELSE 'other' END, 'q', 5, 'discarded', now(), 5"
        " FROM generate_series(1, 1000) AS n"
    )
    text = Markup(office.get("/operations/new", state="discarded", q="kind:k").text).text
    assert "500 jobs match" in text
    answer = start(office, q="kind:k")
    assert answer.headers["location"] == "/operations/1"
    assert start(office, q="kind:k").headers["location"] == "/operations/1"  # sent twice
    late = insert(look, state="discarded")
    state = "SELECT state, done, skipped FROM riverbridge_operation"
    with running(Operator(office.ground), Operator(office.ground)):
        eventually(lambda: look.execute(state).fetchone() == ("finished", 500, 0))
    counted = look.execute("SELECT kind, state::text, count(*) FROM river_job GROUP BY 1, 2")
    assert set(counted) == {("k", "available", 500), ("other", "discarded", 500),
                            ("k", "discarded", 1)}  # fmt: skip
    assert office.row(late)["state"] == "discarded"
    assert [entry[1] for entry in office.audit()] == ["retry all", "retry all ended"]
    assert "finished" in Markup(office.get("/operations/1").text).text


def test_an_operation_that_is_stopped(office: Desk, look: psycopg.Connection[Any]) -> None:
    ids = [insert(look, state="discarded") for _ in range(3)]
    start(office)
    office.post("/operations/1/cancel")
    assert not Operator(office.ground)._step(office.ground.databases["main"])
    assert {office.row(id)["state"] for id in ids} == {"discarded"}
    assert [entry[1] for entry in office.audit()] == ["retry all", "retry all ended"]


def test_an_operation_that_fails_is_given_up(office: Desk, look: psycopg.Connection[Any]) -> None:
    insert(look, state="discarded")
    start(office)
    look.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''not this one''; END'"
    )
    look.execute("CREATE TRIGGER guard BEFORE UPDATE ON river_job EXECUTE FUNCTION guard()")
    operator = Operator(office.ground)
    for _ in range(5):
        operator._step(office.ground.databases["main"])
    (found,) = look.execute("SELECT state, error FROM riverbridge_operation").fetchall()
    assert found[0] == "failed"
    assert "not this one" in found[1]


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"state": "", "q": ""}, 400), ({"key": "short"}, 400), ({"action": "drop"}, 400)],
)
def test_an_operation_that_cannot_be(office: Desk, fields: dict[str, Any], status: int) -> None:
    assert start(office, **fields).status_code == status
    assert office.post("/operations", role=Role.OPERATOR, key="k" * 22, action="delete",
                       state="discarded").status_code == 403  # fmt: skip


def slow(request: Request, ground: Ground) -> Response:
    def question() -> Exchange[None]:
        yield Query("testing/wait", {})

    ground.read(request, question(), seconds=0.2)
    return PlainTextResponse("done")


def test_a_question_that_takes_too_long_is_cancelled(
    tables: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "riverbridge.client.adapters.psycopg3.statement", lambda *_: b"SELECT pg_sleep(30)"
    )
    office = desk(tables, pages=[Page("/slow", slow, Role.VIEWER)])
    answer = office.get("/slow")
    assert answer.status_code == 504
    assert "took too long" in answer.text
    assert "pg_sleep" not in answer.text


def test_a_row_that_somebody_has_in_work(
    office: Desk, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.console.database.LOCK_WAIT", 0.1)
    id = insert(look, state="discarded")
    with look.transaction():
        look.execute("SELECT FROM river_job WHERE id = %s FOR UPDATE", [id])
        assert office.post("/jobs/retry", id=[id]).status_code == 409
    assert office.post("/jobs/retry", id=[id]).status_code == 303


def test_a_database_that_is_not_there(database: Database) -> None:
    answer = desk(None).get("/jobs")
    assert (answer.status_code, "nowhere" in answer.text) == (503, False)


def test_pages_cannot_write_by_reading(office: Desk) -> None:
    """Whatever a page asks, its transaction is read-only."""
    database = office.ground.databases["main"]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        database.read(_pause())


def _pause() -> Exchange[None]:
    yield Query("queue/pause", {"name": "*"})


def test_several_databases(
    tables: Database, database: Database, look: psycopg.Connection[Any]
) -> None:
    insert(look, kind="here")
    with database.connect() as other:
        there = insert(other, kind="there", state="discarded")
    office = desk(tables, others={"second": database})
    here, second = office.get("/jobs").text, office.get("/on/second/jobs").text
    assert ("there" in Markup(here).text, "here" in Markup(second).text.split()) == (False, False)
    assert "the second one" in Markup(second).text
    went = office.post("/on/second/jobs/retry", id=[there])
    assert went.headers["location"] == "/on/second/jobs"
    with database.connect() as other:
        assert other.execute("SELECT count(*) FROM riverbridge_audit").fetchone() == (1,)
    assert office.audit() == []


def test_every_page_says_where_one_is(office: Desk, look: psycopg.Connection[Any]) -> None:
    insert(look)
    for page in PAGES:
        if "GET" in page.methods and "{" not in page.path and not page.is_api:
            if page.path == "/operations/new":
                continue
            found = Markup(office.get(page.path).text)
            assert [tag for tag, _ in found.elements].count("h1") == 1, page.path
            assert "page" in found.all("a", "aria-current"), page.path
