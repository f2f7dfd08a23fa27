"""Our own API: what it answers, what it refuses, and that its document says the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest

from tests.support.console_server import Site, console_on
from tests.support.database import Database
from tests.support.jobs import add


@pytest.fixture(scope="module")
def site(module_database: Database) -> Iterator[Site]:
    with console_on(module_database, redact=("card",)) as site:
        yield site


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with tables.connect() as connection:
        yield connection


def test_lists_jobs_a_page_at_a_time(site: Site, look: psycopg.Connection) -> None:
    for n in range(5):
        add(look, kind=f"'k{n % 2}'", args=f"""'{{"n": {n}, "card": "4111"}}'""")
    first = site.get("/api/bridge/jobs", q="kind:k0", limit=2).body
    assert [job["id"] for job in first["jobs"]] == [5, 3]
    assert first["jobs"][0]["args"] == {"n": 4, "card": "•••"}
    rest = site.get("/api/bridge/jobs", q="kind:k0", limit=2, after=first["after"]).body
    assert ([job["id"] for job in rest["jobs"]], rest["after"]) == ([1], None)
    oldest = site.get("/api/bridge/jobs", descending="false", limit=1).body
    assert [job["id"] for job in oldest["jobs"]] == [1]


def test_shows_one_job(site: Site, look: psycopg.Connection) -> None:
    id = add(look, args="""'{"card": {"number": 1}}'""")
    job = site.get(f"/api/bridge/jobs/{id}").body
    assert (job["id"], job["state"], job["args"]) == (id, "available", {"card": "•••"})
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None
    assert site.get("/api/bridge/jobs/404").status == 404


def test_counts_states_and_queues(site: Site, look: psycopg.Connection) -> None:
    add(look)
    look.execute("INSERT INTO river_queue (name, updated_at) VALUES ('q', now())")
    assert site.get("/api/bridge/states").body["available"]["jobs"] == 1
    [queue] = site.get("/api/bridge/queues").body
    assert (queue["name"], queue["available"], queue["running"]) == ("q", 1, 0)


def test_tells_the_history(site: Site, look: psycopg.Connection) -> None:
    look.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name, inserted) SELECT 60,"
        " date_trunc('minute', now()), facet, name, 7"
        " FROM (VALUES ('all', ''), ('queue', 'q'), ('queue', 'p')) AS v (facet, name)"
    )
    told = site.get("/api/bridge/history").body
    assert [(line["name"], line["inserted"]) for line in told["lines"]] == [("", 7)]
    told = site.get("/api/bridge/history", facet="queue", names=["p"]).body
    assert [line["name"] for line in told["lines"]] == ["p"]
    told = site.get("/api/bridge/history", facet="queue").body
    assert {line["name"] for line in told["lines"]} == {"p", "q"}


def test_lists_processes_and_the_audit(site: Site, look: psycopg.Connection) -> None:
    look.execute(
        "INSERT INTO riverbridge_process (id, host, pid, version, queues)"
        " VALUES ('me', 'h', 1, '0', '{a}')"
    )
    [process] = site.get("/api/bridge/processes").body
    assert (process["id"], process["queues"]) == ("me", ["a"])
    id = add(look)
    site.call("POST", "/api/jobs/cancel", {"ids": [str(id)]})
    [entry] = site.get("/api/bridge/audit").body
    assert (entry["action"], entry["subject"], entry["after"]) == (
        "cancel",
        f"job {id}",
        "cancelled",
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/bridge/jobs?limit=0", "limit"),
        ("/api/bridge/jobs?limit=x", "limit"),
        ("/api/bridge/jobs?limit=1&limit=2", "limit is given 2 times"),
        ("/api/bridge/jobs?q=priority:x", "priority"),
        ("/api/bridge/jobs?after=x", "after"),
        ("/api/bridge/jobs?q=args.card:1", "is not shown here"),
        ("/api/bridge/jobs?sort=args", "sort"),
        ("/api/bridge/jobs?size=1", "there is no parameter 'size'"),
        ("/api/bridge/jobs?q=%00", "zero byte"),
        ("/api/bridge/jobs/x", "id"),
        ("/api/bridge/jobs/0", "id"),
        ("/api/bridge/history?range=2y", "range"),
        ("/api/bridge/audit?before_id=99999999999999999999", "before_id"),
    ],
)
def test_says_what_is_wrong(site: Site, path: str, said: str) -> None:
    found = site.get(path)
    assert found.status == 400
    assert said in found.body["message"]


def test_the_document_names_every_operation_and_parameter(site: Site) -> None:
    document = site.get("/api/bridge/openapi.json").body
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        f"/api/bridge/{name}"
        for name in ("jobs", "jobs/{id}", "states", "queues", "history", "processes", "audit")
    }
    limit = next(
        parameter
        for parameter in document["paths"]["/api/bridge/jobs"]["get"]["parameters"]
        if parameter["name"] == "limit"
    )
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
