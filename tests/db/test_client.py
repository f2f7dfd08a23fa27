"""The insert client on a real Postgres: rows, notifications, and what a fault leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from riverbridge import (
    Client,
    ClientError,
    ConfigurationError,
    InsertManyParams,
    InsertOpts,
    InvalidJob,
    JobState,
    RawArgs,
)
from riverbridge.model.json_object import object_problem
from riverbridge.store.migrate import Migrator
from riverbridge.testing.proxy import Proxy
from tests.support.database import Database
from tests.support.running import at_once
from tests.support.witness import Witness

LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


@pytest.fixture
def witness(database: Database) -> Iterator[Witness]:
    with database.connect() as connection:
        yield Witness(connection)


@pytest.fixture
def client(database: Database) -> Iterator[Client]:
    with Client(database.dsn) as client:
        yield client


def through(database: Database, proxy: Proxy) -> str:
    parameters: dict[str, Any] = dict(conninfo_to_dict(database.dsn))
    return make_conninfo("", **(parameters | {"host": "127.0.0.1", "port": proxy.port}))


def test_one_job_is_committed_announced_and_returned_as_its_row(
    client: Client, witness: Witness
) -> None:
    result = client.insert(Placed(7), InsertOpts(tags=["abc", "d-e"], metadata={"a": 1.5}))
    assert witness.heard() == ['{"queue": "default"}']
    with witness.connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT * FROM river_job").fetchone()
    assert row is not None
    job = result.job
    assert row == {
        "id": job.id,
        "state": "available",
        "attempt": 0,
        "max_attempts": 25,
        "attempted_at": None,
        "created_at": job.created_at,
        "finalized_at": None,
        "scheduled_at": job.scheduled_at,
        "priority": 1,
        "args": {"order_id": 7},
        "attempted_by": None,
        "errors": None,
        "kind": "order.placed",
        "metadata": {"a": 1.5},
        "queue": "default",
        "tags": ["abc", "d-e"],
        "unique_key": None,
        "unique_states": None,
    }
    assert (job.args, job.metadata, job.tags) == (row["args"], row["metadata"], row["tags"])
    assert (job.state, job.queue, job.priority) == (JobState.AVAILABLE, "default", 1)
    assert job.created_at == job.scheduled_at
    assert job.created_at.tzinfo is UTC
    assert result.unique_skipped_as_duplicate is False


def test_a_rollback_leaves_no_row_and_no_notification(
    database: Database, client: Client, witness: Witness
) -> None:
    with database.connect(autocommit=False) as tx:
        client.insert_tx(tx, Placed(7))
        client.insert_many_tx(tx, [Placed(8), Placed(9)])
        assert witness.jobs() == 0, "the caller has not committed"
        tx.rollback()
    assert witness.jobs() == 0
    assert witness.heard() == []


def test_the_callers_commit_brings_rows_and_one_notification_for_each_queue(
    database: Database, client: Client, witness: Witness
) -> None:
    with database.connect() as tx, tx.transaction():
        client.insert_tx(tx, Placed(1))
        with tx.cursor(row_factory=dict_row) as cursor:
            client.insert_tx(cursor, Placed(2), InsertOpts(queue="orders"))
        client.insert_many_tx(tx, [Placed(3), InsertManyParams(Placed(4), InsertOpts(queue="b"))])
        assert tx.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    assert witness.jobs() == 4
    assert sorted(witness.heard()) == [
        '{"queue": "b"}',
        '{"queue": "default"}',
        '{"queue": "orders"}',
    ]


def test_scheduled_and_pending_jobs_are_not_announced(client: Client, witness: Witness) -> None:
    past = datetime(1999, 1, 1, tzinfo=UTC)
    results = client.insert_many(
        [
            InsertManyParams(Placed(1), InsertOpts(scheduled_at=past)),
            InsertManyParams(Placed(2), InsertOpts(pending=True, scheduled_at=LAST)),
            InsertManyParams(Placed(3), InsertOpts(pending=True)),
        ]
    )
    assert [result.job.state for result in results] == [
        JobState.SCHEDULED,
        JobState.PENDING,
        JobState.PENDING,
    ]
    assert [result.job.scheduled_at for result in results[:2]] == [past, LAST]
    assert witness.heard() == []


def test_five_thousand_come_back_in_order_with_one_notification(
    client: Client, witness: Witness
) -> None:
    results = client.insert_many([Placed(number) for number in range(5000)])
    assert [result.job.args["order_id"] for result in results] == list(range(5000))
    ids = [result.job.id for result in results]
    assert ids == sorted(set(ids))
    rows = witness.connection.execute(
        "SELECT id, (args ->> 'order_id')::int FROM river_job ORDER BY id"
    ).fetchall()
    assert rows == list(zip(ids, range(5000), strict=True))
    assert witness.heard() == ['{"queue": "default"}']


def test_one_bad_job_of_many_and_nothing_is_sent(client: Client, witness: Witness) -> None:
    bad = InsertManyParams(Placed(2), InsertOpts(queue="Not A Queue"))
    with pytest.raises(InvalidJob, match=r"^job 2 of 3: queue: 'Not A Queue' is not allowed"):
        client.insert_many([Placed(1), bad, Placed(3)])
    with pytest.raises(InvalidJob, match="no jobs to insert"):
        client.insert_many([])
    assert witness.jobs() == 0


def test_a_failure_of_a_later_chunk_leaves_nothing(client: Client, witness: Witness) -> None:
    witness.connection.execute(
        "ALTER TABLE river_job ADD CONSTRAINT late CHECK (args ->> 'order_id' <> '1500')"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        client.insert_many([Placed(number) for number in range(2000)])
    assert witness.jobs() == 0
    assert witness.heard() == []
    assert client.insert(Placed(1)).job.args == {"order_id": 1}, "the client goes on"


def test_a_given_connection_stays_the_callers(database: Database, witness: Witness) -> None:
    for autocommit in (True, False):
        with database.connect(autocommit=autocommit, row_factory=dict_row) as connection:
            with Client(connection) as client:
                client.insert(Placed(1))
                assert len(witness.heard()) == 1, "insert commits by itself"
            assert not connection.closed
            assert connection.autocommit is autocommit


def test_what_would_not_be_committed_is_refused(database: Database, witness: Witness) -> None:
    with database.connect(autocommit=False) as connection:
        client = Client(connection)
        connection.execute("SELECT 1")
        with pytest.raises(ClientError, match="insert_tx, to join it"):
            client.insert(Placed(1))
    with (
        database.connect() as connection,
        pytest.raises(ClientError, match="no transaction is open"),
    ):
        client.insert_tx(connection, Placed(1))
    wrong: Any = object()
    with pytest.raises(ClientError, match="tx: object cannot have a transaction open"):
        client.insert_tx(wrong, Placed(1))
    with pytest.raises(ClientError, match="cannot be used: give a DSN, a psycopg"):
        Client(wrong)
    assert witness.jobs() == 0


def test_a_function_is_called_at_the_first_insert_and_its_connection_is_closed(
    database: Database,
) -> None:
    opened: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        opened.append(database.connect(autocommit=False))
        return opened[-1]

    client = Client(connect)
    assert opened == []
    client.insert(Placed(1))
    client.insert(Placed(2))
    assert len(opened) == 1
    client.close()
    client.close()
    assert opened[0].closed
    with pytest.raises(ClientError, match="closed"):
        client.insert(Placed(3))


def test_a_connection_lost_while_idle_is_opened_again(client: Client, witness: Witness) -> None:
    client.insert(Placed(1))
    for _ in range(2):
        witness.connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        client.insert(Placed(2))
    assert witness.jobs() == 3


@pytest.mark.parametrize("forward", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize(("last", "count"), [(b"INSERT", 1), (b"COMMIT", 1001)])
def test_an_insert_without_answer_is_not_repeated(
    database: Database,
    witness: Witness,
    proxy: Callable[[int], Proxy],
    last: bytes,
    count: int,
    forward: bool,
) -> None:
    between = proxy(int(str(conninfo_to_dict(database.dsn)["port"])))
    with Client(through(database, between)) as client:
        between.cut_on(last, forward=forward)
        with pytest.raises(psycopg.OperationalError):
            client.insert_many([Placed(2)] * count)
        assert between.cuts == 1
        client.insert(Placed(3))
    rows = witness.connection.execute("SELECT args ->> 'order_id' FROM river_job ORDER BY id")
    found = [row[0] for row in rows]
    assert found == (["2"] * count + ["3"] if forward else ["3"])


def test_an_unreachable_server_is_an_error_and_the_client_recovers(
    database: Database, witness: Witness, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(int(str(conninfo_to_dict(database.dsn)["port"])))
    with Client(through(database, between)) as client:
        client.insert(Placed(1))
        between.set_mode("refuse")
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                client.insert(Placed(2))
        between.set_mode("pass")
        client.insert(Placed(3))
    assert witness.jobs() == 2


def test_a_silent_server_is_given_up(
    database: Database, proxy: Callable[[int], Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.client.adapters.own.STATEMENT_LIMIT", 0.25)
    between = proxy(int(str(conninfo_to_dict(database.dsn)["port"])))
    with Client(through(database, between)) as client:
        client.insert(Placed(1))
        between.set_mode("blackhole")
        with pytest.raises(psycopg.OperationalError):
            client.insert(Placed(2))


def test_threads_share_a_client(client: Client, witness: Witness) -> None:
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 25):
                client.insert(Placed(number))
        except BaseException as error:
            failures.append(error)

    at_once(*(partial(work, start * 25) for start in range(4)))
    assert failures == []
    row = witness.connection.execute(
        "SELECT count(DISTINCT args), count(*) FROM river_job"
    ).fetchone()
    assert row == (100, 100)


def test_a_schema_of_its_own_is_used_for_rows_and_channel(
    database: Database, witness: Witness
) -> None:
    witness.connection.execute('CREATE SCHEMA "Jobs"')
    Migrator(database.dsn, schema="Jobs", line="main").up()
    witness.connection.execute('LISTEN "Jobs.river_insert"')
    with Client(database.dsn, schema="Jobs") as client:
        client.insert(Placed(1))
    notice = next(witness.connection.notifies(timeout=10))
    assert (notice.channel, notice.payload) == ("Jobs.river_insert", '{"queue": "default"}')
    assert witness.jobs() == 0
    row = witness.connection.execute('SELECT count(*) FROM "Jobs".river_job').fetchone()
    assert row == (1,)


@pytest.mark.parametrize(
    ("dsn", "schema"),
    [("postgresql://u:se@cret@h/d", None), ("postgresql://h/d", "a b"), ("nonsense", None)],
)
def test_what_cannot_work_is_refused_at_once_without_the_password(
    dsn: str, schema: str | None
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Client(dsn, schema=schema)
    assert "cret" not in str(refused.value)


def test_the_last_instant_survives_any_session_time_zone(database: Database) -> None:
    with database.connect(options="-c TimeZone=Pacific/Kiritimati") as connection:
        client = Client(connection)
        job = client.insert(Placed(1), InsertOpts(scheduled_at=LAST)).job
        assert job.scheduled_at == LAST
        now = client.insert(Placed(2)).job.scheduled_at
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    number=st.from_regex(
        r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?", fullmatch=True
    ),
    text=st.text(),
)
def test_what_is_accepted_postgres_takes_and_gives_back(
    database: Database, number: str, text: str
) -> None:
    quoted = '"' + text.translate({34: None, 92: "\\\\"}) + '"'
    json = f'{{"n": {number}, "t": {quoted}, "e": "\\u00e9"}}'
    if object_problem(json) is None:
        with database.connect() as connection, connection.transaction(force_rollback=True) as _:
            job = Client(connection).insert_tx(connection, RawArgs("k", json)).job
            assert float(job.args["n"]) == float(number)
            assert job.args["t"] == text.replace('"', "")


def test_what_an_insert_gives_back_is_the_row(database: Database) -> None:
    """Of a new row hardly anything is asked of the database, so nothing may be made up."""
    when = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
    jobs: list[InsertManyParams] = [
        InsertManyParams(RawArgs("plain", "{}")),
        InsertManyParams(RawArgs("json", '{"b": 1.50,\n "a": [1e3, null, "\\u00e9"],\n "b": 2}')),
        InsertManyParams(RawArgs("all", "{}"), InsertOpts(7, 4, "q", when, ["abc"])),
        InsertManyParams(RawArgs("more", "{}"), InsertOpts(metadata={"a": [1]}, pending=True)),
    ]
    with Client(database.dsn) as client:
        made = [result.job for result in client.insert_many(jobs)]
        made += [client.insert(each.args, each.opts).job for each in jobs]
        assert made == [client.job_get(job.id) for job in made]
