"""The console's grants of docs/operations.md are enough for every page, and each is needed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from riverbridge.console.frame import Page, Role
from riverbridge.console.known import KNOWN, Known
from riverbridge.console.operations import Operator
from riverbridge.console.pages import PAGES
from riverbridge.model.replay import ReplayRoute
from tests.console.test_access import STREAMS
from tests.console.test_replays import OPEN
from tests.console.test_tail import tail
from tests.support.console import Desk, bearer, desk, insert
from tests.support.console_server import console_on
from tests.support.database import Database
from tests.support.jobs import add
from tests.support.roles import Role as Granted
from tests.support.roles import grants, new_role
from tests.support.wait import eventually

VIEWING, CHANGING = grants("console"), grants("console-changes")

ROUTE = ReplayRoute("orders", queues=("q",), kinds=("*",), sinks=("events",))
ELSEWHERE = {"/quarantine/retry", "/replays", "/replays/{id:int}/resume"}
"""Changes of these are not among `refused_changes`: a retry takes the privileges of sources, and a
replay goes on in a thread, which a test of its own waits for."""
CHANGES = [page for page in PAGES if page.changes and page.path not in ELSEWHERE]
LOOKS = [page for page in PAGES if not page.changes and page.path not in STREAMS]
ASKED = {
    "/operations/new": {"q": "kind:k"},
    "/api/autocomplete": {"facet": "queue_name"},
    "/api/bridge/history": {"facet": "queue"},
}
QUEUE = "console.css"
"""A queue, and a file of the console: what is asked for by its name."""

NEW_JOB = {"kind": "k", "queue": "q", "priority": "1", "max_attempts": "5", "args": "{}"}


def begun(connection: psycopg.Connection[Any], action: str) -> int:
    """An operation that is open, on all jobs whose kind is its action."""
    row = connection.execute(
        "INSERT INTO riverbridge_operation (key, action, search, job_state, started_by, role, way,"
        " total, last_id) SELECT %(key)s, %(action)s::text, 'kind:' || %(action)s::text, '', 'a',"
        " 'admin', 'token', 1, max(id) FROM river_job RETURNING id",
        {"key": secrets.token_hex(), "action": action},
    ).fetchone()
    assert row is not None
    return int(row[0])


def quarantined(connection: psycopg.Connection[Any]) -> int:
    """An event in quarantine."""
    row = connection.execute(
        "INSERT INTO riverbridge_quarantine (digest, source, event_id, topic, headers, reason)"
        " VALUES (sha256(%s), 'shop', 'e', 't', '[]', 'none') RETURNING id",
        [secrets.token_bytes()],
    ).fetchone()
    assert row is not None
    return int(row[0])


def viewed(connection: psycopg.Connection[Any]) -> int:
    """A view, the only one."""
    connection.execute("DELETE FROM riverbridge_view")
    row = connection.execute(
        "INSERT INTO riverbridge_view (name, search, job_state, sort, owner)"
        " VALUES ('mine', 'kind:k', '', '', 'a') RETURNING id"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def granted(database: Database) -> Iterator[Granted]:
    with new_role(database) as made:
        yield made


@pytest.fixture
def owner(granted: Granted) -> Iterator[psycopg.Connection[Any]]:
    """What every page has something to show of."""
    with granted.owner.connect() as connection:
        insert(connection)
        begun(connection, "retry")
        connection.execute(
            "WITH queue AS (INSERT INTO river_queue (name, updated_at) VALUES (%s, now())),"
            " seat AS (INSERT INTO river_leader (leader_id, elected_at, expires_at)"
            " VALUES ('me', now(), now() + interval '1 day')),"
            " process AS (INSERT INTO riverbridge_process (id, host, pid, version)"
            " VALUES ('me', 'h', 1, '1'))"
            " INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt)"
            " VALUES (1, 'events', 1, 'jobs[3]@1042')",
            [QUEUE],
        )
        quarantined(connection)
        yield connection


@pytest.fixture
def office(granted: Granted) -> Desk:
    return desk(granted.database, extra={KNOWN: Known([ROUTE], {"events": "kafka"})})


def path_of(page: Page) -> str:
    """The page of the first of everything."""
    return re.sub(
        r"\{(\w+)(:int)?\}", lambda found: QUEUE if found[1] == "name" else "1", page.path
    )


def refused_looks(office: Desk) -> list[str]:
    """The pages that do not show what they would to an owner."""
    answers = {page.path: office.get(path_of(page), **ASKED.get(page.path, {})) for page in LOOKS}
    refused = [path for path, answer in answers.items() if answer.status_code != 200]
    if "jobs[3]@1042" not in answers["/jobs/{id:int}"].text:
        refused.append("receipts")
    return refused


def change(office: Desk, page: Page, owner: psycopg.Connection[Any]) -> Any:
    """Ask for what the page changes: a job, a queue, an operation, each one of its own."""
    (method,) = page.methods
    id = insert(owner, state="scheduled")
    about = id
    if page.path.startswith("/operations"):
        about = begun(owner, "retry")
    elif page.path.startswith("/replays"):
        [(about,)] = owner.execute(OPEN, [None, 0]).fetchall()
    elif page.path.startswith("/quarantine"):
        id = quarantined(owner)
    elif page.path.startswith("/periodic"):
        owner.execute(
            "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at)"
            " VALUES (%s, 's', now())",
            [str(id)],
        )
    elif page.path.startswith("/routes"):
        pause = (
            "INSERT INTO riverbridge_pause (what, name, paused_by) VALUES ('sink', 'events', 'a')"
        )
        owner.execute(f"{pause} ON CONFLICT DO NOTHING".encode())
    path = re.sub(r"\{id:int\}", str(about), page.path)
    path = path.replace("{name}", QUEUE)
    headers = bearer(Role.ADMIN)
    if page.is_api:
        given = {"concurrency": None} if method == "PATCH" else {"ids": [id]}
        return office.client().request(method, path, json=given, headers=headers)
    form = {"id": str(id), "name": QUEUE, **NEW_JOB}
    form |= {"action": "cancel", "q": "kind:k", "key": secrets.token_urlsafe(16)}
    if page.path.startswith("/views"):
        form |= {"id": str(viewed(owner)), "name": secrets.token_hex()[:60]}
    if page.path.startswith("/routes"):
        form |= {"what": "sink", "name": "events"}
    return office.client().request(method, path, data=form, headers=headers)


def refused_changes(office: Desk, owner: psycopg.Connection[Any]) -> list[str]:
    """The changes that are not made, of all there are, each of a job of its own."""
    refused = []
    for page in CHANGES:
        before = len(office.audit())
        answer = change(office, page, owner)
        assert answer.status_code in (200, 303, 403), answer.text
        if answer.status_code == 403:
            assert "may not: permission denied" in answer.text
            refused.append(page.path)
        else:
            assert len(office.audit()) == before + 1, page.path
    return refused


def operated(office: Desk, owner: psycopg.Connection[Any]) -> list[str]:
    """The states of operations of each kind, after one step of each."""
    owner.execute("DELETE FROM riverbridge_operation")
    operator, found = Operator(office.ground), []
    for action in ("retry", "cancel", "delete"):
        insert(owner, kind=action, state="scheduled")
        begun(owner, action)
        operator._step(office.ground.databases["main"])
    for state, done in owner.execute("SELECT state, done FROM riverbridge_operation ORDER BY id"):
        found.append(f"{state} {done}")
    return found


def test_the_grants_for_looking_are_enough(
    office: Desk, granted: Granted, owner: psycopg.Connection[Any]
) -> None:
    granted.grant(VIEWING)
    assert refused_looks(office) == []
    assert refused_changes(office, owner) == [page.path for page in CHANGES]
    with console_on(granted.database) as site, tail(site) as stream:
        add(owner, kind="'seen'")
        eventually(lambda: stream.kinds() == ["seen"])


def test_the_grants_for_changing_are_enough(
    office: Desk, granted: Granted, owner: psycopg.Connection[Any]
) -> None:
    granted.grant(VIEWING + CHANGING)
    assert refused_changes(office, owner) == []
    assert operated(office, owner) == ["finished 1"] * 3
    with granted.database.connect() as connection:
        for statement in (
            "DELETE FROM riverbridge_audit",
            "UPDATE riverbridge_audit SET who = 'b'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_grants_for_changing_are_enough_to_replay(
    office: Desk, granted: Granted, owner: psycopg.Connection[Any]
) -> None:
    granted.grant(VIEWING + CHANGING)
    id = insert(owner, state="completed")
    key = secrets.token_urlsafe(16)
    assert office.post("/replays", q="kind:k", state="completed", key=key).status_code == 303
    eventually(
        lambda: (
            owner.execute("SELECT state, done FROM riverbridge_replay").fetchall()
            == [("finished", 1)]
        )
    )
    assert office.row(id)["state"] == "available"


def test_each_grant_of_the_console_is_needed(
    office: Desk, granted: Granted, owner: psycopg.Connection[Any]
) -> None:
    granted.grant(VIEWING + CHANGING)
    for statement in VIEWING + CHANGING:
        right = statement.removeprefix("GRANT ").removesuffix(" TO riverbridge")
        owner.execute(f"REVOKE {right} FROM {granted.name}".encode())
        if statement in VIEWING:
            assert refused_looks(office), statement
        else:
            assert refused_changes(office, owner), statement
        granted.grant([statement])
