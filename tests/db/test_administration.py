"""Jobs and queues on a real Postgres: faults, waiting, odd rows, a table that is full."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from riverbridge import (
    Client,
    InsertOpts,
    InvalidRequest,
    JobConflict,
    JobNotFound,
    JobRunning,
    QueueNotFound,
    RawArgs,
)
from riverbridge.sql import statement
from riverbridge.store.administration import OUTPUT_MAX, job_count, job_list, job_lock
from riverbridge.store.exchange import Query, Rows, carry_out
from riverbridge.store.rows import FIRST, LAST
from tests.support.database import Database
from tests.support.jobs import add, fill, row
from tests.support.wait import eventually

FINISHED = {"state": "'completed'", "finalized_at": "now()"}


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        connection.execute('LISTEN "public.river_control"')
        yield connection


@pytest.fixture
def client(tables: Database) -> Iterator[Client]:
    with Client(tables.dsn) as client:
        yield client


def add_queue(look: psycopg.Connection[Any], name: str) -> None:
    look.execute(
        "INSERT INTO river_queue (name, created_at, metadata, updated_at)"
        " VALUES (%s, now(), '{}', now())",
        (name,),
    )


def heard(look: psycopg.Connection[Any]) -> list[str]:
    """All that was sent until now; a marker of our own shows that nothing is on its way."""
    look.execute("SELECT pg_notify('public.river_control', 'end')")
    payloads: list[str] = []
    for notice in look.notifies(timeout=10):
        if notice.payload == "end":
            return payloads
        payloads.append(notice.payload)
    raise AssertionError("the marker was not heard within 10 s")


MISSING: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.job_get(7),
    "cancel": lambda client: client.job_cancel(7),
    "retry": lambda client: client.job_retry(7),
    "delete": lambda client: client.job_delete(7),
    "update": lambda client: client.job_update(7, output=1),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_job_that_is_not_there(client: Client, name: str) -> None:
    with pytest.raises(JobNotFound, match="job 7 is not there") as caught:
        MISSING[name](client)
    assert caught.value.job_id == 7
    assert isinstance(caught.value, LookupError)


def test_a_queue_that_is_not_there(client: Client, look: psycopg.Connection[Any]) -> None:
    calls = (client.queue_get, client.queue_pause, client.queue_resume)
    for call in (*calls, lambda name: client.queue_update(name, metadata={})):
        with pytest.raises(QueueNotFound, match="queue 'a' is not there") as caught:
            call("a")
        assert caught.value.name == "a"
    assert heard(look) == []


def test_a_running_job_is_not_deleted_even_if_the_caller_goes_on(
    tables: Database, client: Client, look: psycopg.Connection[Any]
) -> None:
    id = add(look, state="'running'")
    with tables.connect(autocommit=False) as connection:
        with pytest.raises(JobRunning, match=f"job {id} is running") as caught:
            client.job_delete_tx(connection, id)
        assert caught.value.job_id == id
    assert row(look, id)["state"] == "running"


def test_a_retry_that_meets_the_holder_of_its_key_names_it_and_ends_no_transaction(
    tables: Database, client: Client, look: psycopg.Connection[Any]
) -> None:
    key = {"unique_key": r"'\xff'", "unique_states": "'10110001'"}
    id = add(look, state="'cancelled'", finalized_at="now()", **key)
    holder = add(look, state="'retryable'", **key)
    with tables.connect(autocommit=False) as connection:
        with pytest.raises(JobConflict, match=f"job {holder} has its unique key") as caught:
            client.job_retry_tx(connection, id)
        assert (caught.value.job_id, caught.value.holder_id) == (id, holder)
        client.job_cancel_tx(connection, holder)
        assert client.job_retry_tx(connection, id).state == "available"
    assert row(look, id)["state"] == "available"


def test_a_key_that_is_taken_in_that_very_moment_is_a_conflict_too(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    """The holder is not committed when the retry looks for it, and is when it writes."""
    key = {"unique_key": r"'\xff'", "unique_states": "'10110001'"}
    id = add(look, state="'cancelled'", finalized_at="now()", **key)
    caught: list[BaseException] = []

    def retry() -> None:
        try:
            with Client(tables.dsn) as client:
                client.job_retry(id)
        except JobConflict as error:
            caught.append(error)

    with tables.connect(autocommit=False) as rival:
        holder = add(rival, **key)
        thread = threading.Thread(target=retry)
        thread.start()
        eventually(lambda: waiting(look))
        rival.commit()
        thread.join(20)
    [error] = caught
    assert isinstance(error, JobConflict)
    assert (error.job_id, error.holder_id) == (id, None)
    assert isinstance(error.__cause__, psycopg.errors.UniqueViolation)
    assert (row(look, id)["state"], row(look, holder)["state"]) == ("cancelled", "available")


def waiting(look: psycopg.Connection[Any]) -> bool:
    """Whether a session of this database waits for a lock."""
    found = look.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    return found.fetchone() is not None


@pytest.mark.parametrize(
    ("call", "state"), [("job_cancel", "completed"), ("job_retry", "running"), ("job_get", None)]
)
def test_what_was_waited_for_counts_not_what_was_seen_before(
    tables: Database, look: psycopg.Connection[Any], call: str, state: str | None
) -> None:
    """A worker settles, or takes, the job while we wait for its row."""
    id = add(look, state="'running'" if call == "job_cancel" else "'retryable'")
    change = {
        "completed": "state = 'completed', finalized_at = now()",
        "running": "state = 'running', attempt = 7",
        None: "attempt = 7",
    }[state]
    jobs: list[Any] = []

    def work() -> None:
        with Client(tables.dsn) as client:
            jobs.append(getattr(client, call)(id))

    with tables.connect(autocommit=False) as worker:
        worker.execute(f"UPDATE river_job SET {change} WHERE id = {id}".encode())
        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: jobs if state is None else waiting(look))
        worker.commit()
        thread.join(20)
    [job] = jobs
    after = row(look, id)
    assert job.state == (state or "retryable")  # a mere look waits for nobody
    assert after["state"] == job.state or state is None
    assert "cancel_attempted_at" not in after["metadata"]
    assert heard(look) == []


def test_a_rolled_back_cancel_leaves_nothing_and_tells_nobody(
    tables: Database, client: Client, look: psycopg.Connection[Any]
) -> None:
    id = add(look)
    add_queue(look, "q")
    before = row(look, id)
    with tables.connect(autocommit=False) as connection:
        assert client.job_cancel_tx(connection, id).state == "cancelled"
        client.queue_pause_tx(connection, "*")
        connection.rollback()
    assert row(look, id) == before
    assert client.queue_get("q").paused_at is None
    assert heard(look) == []


def test_deleting_many_leaves_out_what_somebody_has_in_work(
    tables: Database, client: Client, look: psycopg.Connection[Any]
) -> None:
    fill(look, 4)
    with tables.connect(autocommit=False) as lane:
        lane.execute("SELECT FROM river_job WHERE id = 2 FOR UPDATE")
        assert [job.id for job in client.job_delete_many(limit=2, queues=["q"])] == [1, 3]
    assert [job.id for job in client.job_delete_many(unsafe_all=True)] == [2, 4]


def test_deleting_many_asks_for_a_filter(client: Client, look: psycopg.Connection[Any]) -> None:
    id = add(look)
    given: list[Any] = [{}, {"limit": 5}, {"kinds": None}]
    for filters in given:
        with pytest.raises(InvalidRequest, match="would delete every job"):
            client.job_delete_many(**filters)
    with pytest.raises(InvalidRequest, match="unsafe_all: goes with no filter"):
        client.job_delete_many(unsafe_all=True, ids=[id])
    with pytest.raises(InvalidRequest, match="ids: is empty"):
        client.job_delete_many(ids=[], states=["available"])
    assert client.job_delete_many(states=["running"]) == []
    with pytest.raises(TypeError, match="unexpected keyword argument 'state'"):
        client.job_delete_many(state=["available"])  # type: ignore[call-arg]
    assert row(look, id)["state"] == "available"


def test_nothing_in_a_filter_is_a_pattern_or_sql(
    client: Client, look: psycopg.Connection[Any]
) -> None:
    add(look, kind="'order'", queue="'a'", tags="ARRAY['abc']", metadata="""'{"a": "b"}'""")
    odd = ["%", "o_der", "ord%", "' OR true --", "order'; DROP TABLE river_job; --", "%s", "{}"]
    for text in odd:
        for name in ("kinds", "queues", "tags_all", "tags_any"):
            assert client.job_list(**{name: [text]}).jobs == []  # type: ignore[arg-type]
        assert client.job_list(metadata={text: text}).jobs == []
        strange = add(look, kind=f"'{text.replace(chr(39), chr(39) * 2)}'")
        assert [job.id for job in client.job_list(kinds=[text]).jobs] == [strange]
        with pytest.raises(QueueNotFound):
            client.queue_pause(text)
    assert len(client.job_list(kinds=["order"], tags_any=["abc", "x"]).jobs) == 1


def test_pages_meet_each_job_once_even_without_the_instant_they_are_ordered_by(
    client: Client, look: psycopg.Connection[Any]
) -> None:
    fill(look, 3, state="'running'", attempted_at="now() - n * interval '1 hour'")
    fill(look, 5)
    fill(look, 2, state="'running'", attempted_at="'infinity'")
    fill(look, 2, state="'running'", attempted_at="'-infinity'")
    states = ["running", "available"]
    for descending in (False, True):
        met: list[int] = []
        after = None
        while page := client.job_list(
            order_by="time", states=states, descending=descending, limit=2, after=after
        ):
            if not page.jobs:
                break
            met += [job.id for job in page.jobs]
            after = page.last_cursor
        wanted = [11, 12, 3, 2, 1, 4, 5, 6, 7, 8, 9, 10]
        assert met == (wanted[::-1] if descending else wanted)
        whole = client.job_list(order_by="time", states=states, descending=descending).jobs
        assert [job.id for job in whole] == met


def test_a_row_that_river_could_not_read_is_shown_cancelled_and_deleted(
    client: Client, look: psycopg.Connection[Any]
) -> None:
    odd = {
        "args": "'[1, 1e5000]'",
        "metadata": "'[]'",
        "errors": """ARRAY[NULL, '"x"', '{"at": "then"}']::jsonb[]""",
        "created_at": "'infinity'",
        "scheduled_at": "'-infinity'",
        "attempted_at": "'0044-03-15 12:00 BC'",
        "tags": "ARRAY[NULL, '']::varchar[]",
    }
    id = add(look, **odd)
    job = client.job_get(id)
    assert (job.created_at, job.scheduled_at, job.attempted_at) == (LAST, FIRST, FIRST)
    assert [error.error for error in job.errors or []] == ["null", '"x"', '{"at": "then"}']
    raw: list[Any] = [job.args, job.metadata, job.tags]
    assert raw == [[1, float("inf")], [], [None, ""]]
    assert client.job_list().jobs == [job]
    assert client.job_cancel(id).state == "cancelled"
    assert heard(look) == [json.dumps({"action": "cancel", "job_id": id, "queue": "q"}).replace(
        ":", " :"
    )]  # fmt: skip
    assert client.job_delete(id).state == "cancelled"
    deep = add(look, args="(repeat('[', 3000) || repeat(']', 3000))::jsonb")
    [job] = client.job_list().jobs
    raw = [job.args]
    assert raw == ["[" * 3000 + "]" * 3000]
    assert client.job_delete(deep) == job


def test_a_sessions_own_settings_change_no_row(
    tables: Database, client: Client, look: psycopg.Connection[Any]
) -> None:
    add(
        look,
        unique_key=r"'\x005c61ff'",
        unique_states="'00000001'",
        created_at="'1850-01-01 00:00Z'",
        scheduled_at="'9999-12-31 23:59:59.999999Z'",
        errors="""ARRAY['{"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "e"}']::jsonb[]""",
    )
    settings = (
        "-c bytea_output=escape -c TimeZone=Pacific/Kiritimati -c DateStyle=German"
        " -c IntervalStyle=sql_standard -c extra_float_digits=-5"
    )
    with Client(make_conninfo(tables.dsn, options=settings)) as odd:
        assert odd.job_get(1) == client.job_get(1)
        cursors = [each.job_list(order_by="scheduled_at").last_cursor for each in (odd, client)]
    assert cursors[0] == cursors[1]


def test_metadata_is_merged_by_an_output_and_replaced_in_a_queue(
    client: Client, look: psycopg.Connection[Any]
) -> None:
    id = add(look, metadata="""'{"a": 1, "output": 2}'""", **FINISHED)
    assert client.job_update(id, output=None).metadata == {"a": 1, "output": None}
    add_queue(look, "q")
    client.queue_update("q", metadata={"a": 1})
    assert client.queue_update("q", metadata={"b": 2}).metadata == {"b": 2}
    assert len(heard(look)) == 2


def test_what_is_too_large_or_has_no_form_is_refused(
    client: Client, look: psycopg.Connection[Any]
) -> None:
    id = add(look)
    add_queue(look, "q")
    with pytest.raises(InvalidRequest, match=f"has {OUTPUT_MAX + 1} bytes .* at most {OUTPUT_MAX}"):
        client.job_update(id, output="x" * (OUTPUT_MAX - 1))
    with pytest.raises(InvalidRequest, match="output: has no form in JSON"):
        client.job_update(id, output=object())
    room = 7999 - len('{"action":"metadata_changed","metadata":{"a":""},"queue":"q"}')
    with pytest.raises(InvalidRequest, match="of 8000 bytes; Postgres sends at most 7999"):
        client.queue_update("q", metadata={"a": "x" * (room + 1)})
    assert (row(look, id)["metadata"], client.queue_get("q").metadata) == ({}, {})
    assert client.queue_update("q", metadata={"a": "x" * room}).metadata["a"] == "x" * room
    [payload] = heard(look)
    assert len(payload) == 7999


def test_other_schemas_are_left_alone(database: Database) -> None:
    from riverbridge.store.migrate import Migrator

    with database.connect() as connection:
        connection.execute('CREATE SCHEMA "Other"; LISTEN "Other.river_control"')
        Migrator(database.dsn, schema="Other", line="main").up()
        with Client(database.dsn, schema="Other") as client, Client(database.dsn) as public:
            id = client.insert(RawArgs("k", "{}"), InsertOpts(queue="a")).job.id
            with pytest.raises(JobNotFound):
                public.job_cancel(id)
            assert client.job_cancel(id).state == "cancelled"
            client.queue_pause("*")
            assert client.job_retry(id).state == "available"
            assert client.job_delete_many(kinds=["k"])[0].id == id
        notices = [notice.channel for notice in connection.notifies(timeout=10, stop_after=2)]
    assert notices == ["Other.river_control"] * 2


ROWS = 100_000
BY_END = "river_job_state_and_finalized_at_index"
LISTS: list[tuple[dict[str, Any], str]] = [
    ({}, "river_job_pkey"),
    ({"descending": True}, "river_job_pkey"),
    ({"ids": [5, 7]}, "river_job_pkey"),
    ({"states": ["completed"], "order_by": "time"}, BY_END),
    ({"states": ["completed"], "order_by": "finalized_at", "descending": True}, BY_END),
]


def test_a_page_of_a_full_table_is_read_by_an_index(tables: Database) -> None:
    """By id, and finished jobs by their end; the first page and the one that follows."""
    with tables.connect() as connection:
        fill(connection, ROWS, state="'completed'", finalized_at="now() - n * interval '1 second'")
        connection.execute("VACUUM ANALYZE river_job")
        for arguments, index in LISTS:
            queries: list[Query] = []
            after = None
            for _ in range(2):
                exchange = job_list(schema=None, limit=10, after=after, **arguments)
                page = carry_out(exchange, partial(told, connection, queries))
                after = page.last_cursor
            for query in queries:
                plan = explained(connection, query)
                assert index in json.dumps(plan), (arguments, plan)
                assert max(counts(plan)) <= 20, (arguments, plan)


def told(connection: psycopg.Connection[Any], queries: list[Query], query: Query) -> Rows:
    queries.append(query)
    return connection.execute(statement(query.name, query.schema), query.parameters).fetchall()


def explained(connection: psycopg.Connection[Any], query: Query) -> dict[str, Any]:
    text = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement(query.name, query.schema)
    found = connection.execute(text, query.parameters).fetchone()
    assert found is not None
    plan: dict[str, Any] = found[0][0]["Plan"]
    return plan


def counts(plan: dict[str, Any]) -> Iterator[int]:
    """The rows of each node of a plan."""
    yield plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    for below in plan.get("Plans", []):
        yield from counts(below)


def test_counting_and_locking_take_the_same_filters(look: psycopg.Connection[Any]) -> None:
    def run(query: Query) -> Rows:
        return look.execute(statement(query.name, query.schema), query.parameters).fetchall()

    fill(look, 30, kind="'order.' || n % 3", priority="1 + n % 4", tags="ARRAY['t' || n % 2]")
    filters: dict[str, Any] = {"kinds": ["order.1"], "priorities": [1, 2], "tags_any": ["t0"]}
    ids = [job.id for job in carry_out(job_list(schema=None, **filters), run).jobs]
    assert 0 < len(ids) < 10
    assert carry_out(job_count(schema=None, limit=100, **filters), run) == len(ids)
    assert carry_out(job_count(schema=None, limit=2), run) == 2
    assert carry_out(job_lock(schema=None, limit=100, after_id=0, **filters), run) == ids
    assert carry_out(job_lock(schema=None, limit=1, after_id=ids[0], **filters), run) == ids[1:2]
