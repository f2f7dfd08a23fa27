"""River's Go client administers one schema, ours its twin: the same rows, notices and answers.

Lists are read by both from the same schema, each going on from the other's cursors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from riverbridge import (
    Client,
    Job,
    JobConflict,
    JobNotFound,
    JobRunning,
    JobState,
    Queue,
    QueueNotFound,
)
from riverbridge.model.job_filter import FINALIZED
from riverbridge.store.migrate import Migrator
from tests.interop.conftest import COPY, River
from tests.interop.test_twin_rows import COLUMNS, within
from tests.support.database import Database

pytestmark = pytest.mark.go

START = datetime.fromisoformat("2026-01-02T03:04:05.600000Z")
REPORTED = START - timedelta(hours=1)
FAILURE = {"at": "2026-01-02T03:04:05.123456789Z", "attempt": 1, "error": "old", "trace": ""}
MARKED = {"cancel_attempted_at": "2026-01-02T03:04:05.678901Z", "a": {"b": [1, 2.50]}}
TEXT = "naïve <b>&\u2028 — 漢字 ?~ \\"
NEVER_THERE = 10**9
WORDS: dict[type[Exception], str] = {
    JobNotFound: "not found",
    QueueNotFound: "not found",
    JobRunning: "running",
    JobConflict: "conflict",
}
INSERT = """
INSERT INTO ours.river_job (kind, queue, state, attempt, max_attempts, attempted_at, created_at,
    finalized_at, scheduled_at, priority, args, attempted_by, errors, metadata, tags, unique_key,
    unique_states)
VALUES (%(kind)s, %(queue)s, %(state)s, %(attempt)s, %(max_attempts)s, %(attempted_at)s,
    %(created_at)s, %(finalized_at)s, %(scheduled_at)s, %(priority)s, '{}',
    %(attempted_by)s, %(errors)s, %(metadata)s, %(tags)s, %(key)s, %(states)s::text::bit(8))
RETURNING id
"""
INSERT_QUEUE = """
INSERT INTO ours.river_queue (name, created_at, metadata, paused_at, updated_at)
VALUES (%s, '2026-01-01Z', '{"old": 1}', %s, %s)
"""
COPY_QUEUES = "INSERT INTO rivers.river_queue SELECT * FROM ours.river_queue"
UNFINISHED_KEY = "10110001"


@dataclass
class Twins:
    """The two schemas, and what is to be done in both."""

    conn: psycopg.Connection[tuple[Any, ...]]
    dsn: str
    operations: list[dict[str, Any]] = field(default_factory=list)

    def job(self, state: JobState, **columns: Any) -> int:
        """A job whose instants and other columns differ by its number, with ties."""
        found = self.conn.execute("SELECT count(*) FROM ours.river_job").fetchone()
        assert found is not None
        number = found[0]
        at = START + timedelta(minutes=number % 7)
        worked = state in (*FINALIZED, JobState.RUNNING, JobState.RETRYABLE)
        values: dict[str, Any] = {
            "kind": "twin",
            "queue": "default",
            "state": state.value,
            "attempt": int(worked),
            "max_attempts": 25,
            "attempted_at": at - timedelta(hours=number % 5) if worked else None,
            "created_at": START,
            "finalized_at": at + timedelta(minutes=number % 3) if state in FINALIZED else None,
            "scheduled_at": at,
            "priority": 1 + number % 4,
            "attempted_by": ["somebody"] if worked else None,
            "errors": [Jsonb(FAILURE)] if state is JobState.RETRYABLE else None,
            "metadata": Jsonb(columns.pop("metadata", {})),
            "tags": ["odd", "all"] if number % 2 else ["even", "all"],
            "key": None,
            "states": None,
        }
        row = self.conn.execute(INSERT, values | columns).fetchone()
        assert row is not None
        return int(row[0])

    def queue(self, name: str, *, paused: bool) -> str:
        self.conn.execute(INSERT_QUEUE, (name, START if paused else None, REPORTED))
        return name

    def do(self, call: str, **arguments: Any) -> None:
        self.operations.append({"do": call, **arguments})

    def rows(self, schema: str) -> dict[int, dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM {schema}.river_job ORDER BY id".encode())
            return {row["id"]: row for row in cursor}

    def queues(self, schema: str) -> dict[str, dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"SELECT * FROM {schema}.river_queue".encode())
            return {row["name"]: row for row in cursor}

    def now(self) -> datetime:
        row = self.conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment


@pytest.fixture
def twins(empty_database: Database) -> Iterator[Twins]:
    with empty_database.connect() as conn:
        for schema in ("ours", "rivers"):
            conn.execute(f"CREATE SCHEMA {schema}".encode())
            Migrator(empty_database.dsn, schema=schema, line="main").up()
        conn.execute("SET timezone TO 'UTC'")
        yield Twins(conn, empty_database.dsn)


def plan_jobs(twins: Twins) -> None:
    """Every operation on a job of every state, and the rows that have a rule of their own."""
    for name in ("job_get", "job_cancel", "job_retry", "job_delete"):
        for state in JobState:
            twins.do(name, id=twins.job(state))
        twins.do(name, id=NEVER_THERE)
    twins.do("job_cancel", id=twins.job(JobState.RUNNING, metadata=MARKED, queue="other"))
    twins.do("job_cancel", id=twins.job(JobState.RETRYABLE, metadata=MARKED))
    last = {"attempt": 3, "max_attempts": 3}
    for state in (JobState.DISCARDED, JobState.RUNNING, JobState.SCHEDULED):
        twins.do("job_retry", id=twins.job(state, **last))
    twins.do("job_retry", id=twins.job(JobState.CANCELLED, attempt=4, max_attempts=3))
    twins.do("job_retry", id=twins.job(JobState.CANCELLED, metadata=MARKED | {"snoozes": 2}))
    later = START + timedelta(days=36500)
    twins.do("job_retry", id=twins.job(JobState.AVAILABLE, scheduled_at=later))
    twins.do("job_retry", id=twins.job(JobState.AVAILABLE, **last))
    for number, output in enumerate((TEXT, 1.50, [None, {TEXT: 1}], {"a": {"b": "<&>"}})):
        state = list(JobState)[number * 2]
        metadata = {"output": 1, "kept": TEXT}
        twins.do("job_update", id=twins.job(state, metadata=metadata), output=output)
    twins.do("job_update", id=NEVER_THERE, output=1)


def plan_keys(twins: Twins) -> None:
    """Retries of jobs whose unique key is free, their own, or another's."""
    for number, (state, holder) in enumerate([
        (JobState.CANCELLED, None),
        (JobState.CANCELLED, JobState.AVAILABLE),
        (JobState.DISCARDED, JobState.RUNNING),
        (JobState.DISCARDED, JobState.COMPLETED),
        (JobState.COMPLETED, JobState.RETRYABLE),
        (JobState.RETRYABLE, None),
    ]):  # fmt: skip
        key = {"key": bytes([number]), "states": UNFINISHED_KEY}
        twins.do("job_retry", id=twins.job(state, **key))
        if holder:
            twins.job(holder, **key)


def plan_bulk(twins: Twins) -> None:
    for state in JobState:
        twins.job(state, kind="bulk", queue=TEXT[:2], priority=2)
        twins.job(state, kind="bulk' OR true --", queue="%", priority=3)
    twins.do("job_delete_many", kinds=["bulk", "none"], limit=3)
    twins.do("job_delete_many", queues=["%"], states=["running", "retryable"], limit=100)
    twins.do("job_delete_many", kinds=["bulk' OR true --"], priorities=[2], limit=100)
    twins.do("job_delete_many", priorities=[3], queues=["%"], limit=2)
    twins.do("job_delete_many", ids=[NEVER_THERE], limit=100)
    twins.do("job_delete_many", ids=[twins.job(state) for state in JobState], limit=100)


def plan_queues(twins: Twins) -> None:
    """Each is looked at after it was changed, as the last calls change them all."""
    for call in ("queue_get", "queue_pause", "queue_resume"):
        for paused in (False, True):
            name = twins.queue(f"{call}|{paused}", paused=paused)
            twins.do(call, name=name)
            twins.do("queue_get", name=name)
        twins.do(call, name="none")
    twins.queue(TEXT, paused=True)
    twins.do("queue_update", name=TEXT, metadata={TEXT: {"b": [1.5, None]}, "a": 1})
    twins.do("queue_update", name="none", metadata={"a": 1})
    for call in ("queue_pause", "queue_resume", "queue_resume"):
        twins.do(call, name="*")
        for name in ("queue_get|False", "queue_get|True"):
            twins.do("queue_get", name=name)


def perform(client: Client, operation: dict[str, Any]) -> dict[str, Any]:
    given = dict(operation)
    call = getattr(client, given.pop("do"))
    place = [given.pop(name) for name in ("id", "name") if name in given]
    try:
        result = call(*place, **given)
    except tuple(WORDS) as error:
        return {"error": WORDS[type(error)], "jobs": [], "queue": None}
    jobs = result if isinstance(result, list) else [result] if isinstance(result, Job) else []
    queue = None
    if isinstance(result, Queue):
        queue = [result.name, said(result.paused_at), said(result.updated_at)]
    return {"error": "", "jobs": shown(jobs), "queue": queue}


def said(at: datetime | str | None) -> str | None:
    """An instant that was there before, or that it is another."""
    if at is None:
        return None
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return str(moment) if moment in (START, REPORTED) else "now"


def shown(jobs: list[Job]) -> list[list[Any]]:
    return [[job.id, job.state.value] for job in jobs]


def check_row(
    before: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any],
    our_span: tuple[datetime, datetime], their_span: tuple[datetime, datetime],
) -> None:  # fmt: skip
    """Equal but for instants that both have set, each within the time in which it worked."""
    ours, theirs = dict(ours), dict(theirs)
    if isinstance(before["metadata"], str):
        for row in (ours, theirs):
            row["metadata"] = json.loads(row["metadata"])
            mark = row["metadata"].get("cancel_attempted_at", None)
            if mark not in (None, MARKED["cancel_attempted_at"]):
                row["mark"] = datetime.fromisoformat(mark)
                row["metadata"]["cancel_attempted_at"] = "now"
    assert ours.keys() == theirs.keys()
    for column, value in theirs.items():
        if isinstance(value, datetime) and value != before.get(column):
            assert within(value, their_span), column
            assert within(ours[column], our_span), column
        else:
            assert ours[column] == value, column


def check_tables(
    before: dict[Any, dict[str, Any]], ours: dict[Any, dict[str, Any]],
    theirs: dict[Any, dict[str, Any]], our_span: tuple[datetime, datetime],
    their_span: tuple[datetime, datetime],
) -> None:  # fmt: skip
    assert ours.keys() == theirs.keys()
    for key, row in theirs.items():
        try:
            check_row(before[key], ours[key], row, our_span, their_span)
        except AssertionError as error:
            raise AssertionError(f"{error}\nours   {ours[key]}\nRiver's {row}") from error


def notifications(listener: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """The payloads by channel until now; a marker of our own shows that none is on its way."""
    found: dict[str, list[str]] = {"ours.river_control": [], "rivers.river_control": []}
    listener.execute("SELECT pg_notify('ours.river_control', 'end')")
    for notification in listener.notifies(timeout=10):
        if notification.payload == "end":
            return found
        found[notification.channel].append(notification.payload)
    raise AssertionError("the marker was not heard within 10 s")


@pytest.mark.transition("T18", "T19", "T20", "T22", "T23")
def test_operations_leave_what_rivers_client_leaves(
    twins: Twins, river_in: Callable[[Database, str], River], empty_database: Database
) -> None:
    for plan in (plan_jobs, plan_keys, plan_bulk, plan_queues):
        plan(twins)
    twins.conn.execute(COPY)
    twins.conn.execute(COPY_QUEUES)
    jobs, queues = twins.rows("ours"), twins.queues("ours")
    assert (jobs, queues) == (twins.rows("rivers"), twins.queues("rivers"))
    listener = empty_database.connect()
    with listener, Client(twins.dsn, schema="ours") as client:
        listener.execute('LISTEN "ours.river_control"; LISTEN "rivers.river_control"')
        began = twins.now()
        given = json.dumps({"operations": twins.operations}, ensure_ascii=False)
        theirs = river_in(empty_database, "rivers")("administer", given)["results"]
        for each in theirs:
            if each["queue"]:
                each["queue"][1:] = map(said, each["queue"][1:])
        between = twins.now()
        ours = [perform(client, operation) for operation in twins.operations]
        spans = (between, twins.now()), (began, between)
        told = notifications(listener)
    for operation, our, their in zip(twins.operations, ours, theirs, strict=True):
        assert our == their, operation
    check_tables(jobs, twins.rows("ours"), twins.rows("rivers"), *spans)
    check_tables(queues, twins.queues("ours"), twins.queues("rivers"), *spans)
    assert len(told["rivers.river_control"]) > 10
    assert told["ours.river_control"] == told["rivers.river_control"]


LISTS: list[dict[str, Any]] = [
    {"limit": 7},
    {"limit": 7, "order_by": "id", "descending": True},
    {"limit": 7, "order_by": "scheduled_at"},
    {"limit": 7, "order_by": "scheduled_at", "descending": True},
    {"limit": 5, "order_by": "finalized_at"},
    {"limit": 5, "order_by": "finalized_at", "descending": True, "states": ["completed"]},
    {"limit": 7, "order_by": "time"},
    {"limit": 2, "order_by": "time", "states": ["running"]},
    {"limit": 3, "order_by": "time", "states": ["discarded", "completed"], "descending": True},
    {"limit": 3, "order_by": "time", "states": ["retryable", "pending"]},
    {"limit": 2, "kinds": [TEXT, "none"]},
    {"limit": 2, "kinds": ["twin"], "queues": [TEXT, "%"]},
    {"limit": 2, "priorities": [2, 4], "states": ["available", "retryable", "cancelled"]},
    {"limit": 2, "tags_all": ["all", "odd"], "tags_any": ["odd", "none"]},
    {"limit": 2, "tags_any": ["even", "%"]},
    {"limit": 1, "metadata": {"a": {"b": [2.5]}}},
    {"limit": 2, "ids": [3, 5, 8, 13, NEVER_THERE]},
    {"limit": 2, "kinds": ["%", "tw_n", "' OR true --"]},
    {"limit": 2, "queues": ["*"]},
]


def fields(cursor: str) -> dict[str, Any]:
    """What a cursor of either says; Go writes the one alphabet of base64, and zones of its own."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(cursor))
    return found | {"time": datetime.fromisoformat(found["time"])}


def test_lists_and_their_cursors_are_rivers(
    twins: Twins, river_in: Callable[[Database, str], River], empty_database: Database
) -> None:
    for number in range(4):
        for state in JobState:
            kind, queue = [("twin", "default"), (TEXT, TEXT), ("twin", TEXT), ("a~?", "%")][number]
            twins.job(state, kind=kind, queue=queue, metadata=MARKED if number % 2 else {})
    twins.conn.execute(COPY)
    with Client(twins.dsn, schema="rivers") as client:
        ours = [client.job_list(**each) for each in LISTS]
        followed = [
            each | {"after": page.last_cursor} for each, page in zip(LISTS, ours, strict=True)
        ]
        given = json.dumps({"lists": LISTS + followed})
        pages = river_in(empty_database, "rivers")("administer", given)["pages"]
        theirs, their_next = pages[: len(LISTS)], pages[len(LISTS) :]
        our_next = [
            client.job_list(**each, after=page["cursor"] or None)
            for each, page in zip(LISTS, theirs, strict=True)
        ]
    for each, our, their in zip(LISTS * 2, ours + our_next, pages, strict=True):
        assert shown(our.jobs) == their["jobs"], each
        assert bool(our.last_cursor) == bool(their["cursor"]), each
        if our.last_cursor:
            assert fields(our.last_cursor) == fields(their["cursor"]), each
    full = [page for page in their_next if page["jobs"]]
    assert len(full) >= len(LISTS) - 3
