"""Receipts: off by default; on, they are written with the rows, shown, and not kept for ever."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from riverbridge.cli import main
from riverbridge.model.outcome import Delivered, Outcome, Retry
from riverbridge.sinks.base import Message
from riverbridge.upkeep.table_cleaner import TableCleaner
from tests.support.bridge import ScriptedSink, job_id, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, fill
from tests.support.wait import eventually

KEPT = {"ROUTES__OUT__QUEUES": "q", "ROUTES__OUT__RECEIPTS": "true"}


def named(message: Message) -> Outcome:
    return Delivered(f"orders[3]@{job_id(message)}")


def receipts(look: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return look.execute(
        "SELECT job_id, sink, attempt, receipt FROM riverbridge_receipt ORDER BY job_id, sink"
    ).fetchall()


def finished(look: psycopg.Connection[Any], count: int) -> None:
    states = "SELECT count(*) FROM river_job WHERE state = 'completed'"
    eventually(lambda: look.execute(states).fetchone() == (count,))


@pytest.mark.parametrize("claim", ["lock", "lease"])
def test_each_sinks_receipts_are_kept(
    tables: Database, look: psycopg.Connection[Any], claim: str
) -> None:
    again = {2}

    def once_more(message: Message) -> Outcome:
        if job_id(message) in again:
            again.discard(job_id(message))
            return Retry("later")
        return Delivered()

    fill(look, 3)
    first, second = ScriptedSink(named), ScriptedSink(once_more)
    env = KEPT | {"ROUTES__OUT__CLAIM": claim, "ROUTES__OUT__RETRY": "fixed"}
    env["ROUTES__OUT__RETRY_DELAY"] = "100ms"
    with running_bridge(tables, {"first": first, "second": second}, env):
        finished(look, 3)
    found = receipts(look)
    assert [row for row in found if row[0] != 2] == [
        (1, "first", 1, "orders[3]@1"),
        (1, "second", 1, None),
        (3, "first", 1, "orders[3]@3"),
        (3, "second", 1, None),
    ]
    # The second job: the first sink has it from the first attempt on, the other from the second.
    assert (2, "first", 1, "orders[3]@2") in found
    assert (2, "second", 2, None) in found
    assert (2, "second", 1, None) not in found


def test_jobs_of_conditions_and_of_keys_have_theirs(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    for number in range(6):
        add(look, args=f"""'{{"n": {number}}}'""")
        add(look, queue="'keyed'", args=f"""'{{"n": {number % 2}}}'""")
    low, high, keyed = "ROUTES__LOW__", "ROUTES__HIGH__", "ROUTES__KEYED__"
    env = {
        low + "QUEUES": "q", low + "SINKS": "out", low + "WHEN": "args.n < 3",
        low + "RECEIPTS": "true",
        high + "QUEUES": "q", high + "SINKS": "out",
        keyed + "QUEUES": "keyed", keyed + "SINKS": "out", keyed + "RECEIPTS": "true",
        keyed + "KEY": "{args.n}", keyed + "ORDERED": "true",
    }  # fmt: skip
    with running_bridge(tables, {"out": ScriptedSink(named)}, env):
        finished(look, 12)
    # Those of `q` have odd ids; the first three are the ones that the condition is true of.
    wanted = sorted([1, 3, 5, *range(2, 13, 2)])
    assert receipts(look) == [(id_, "out", 1, f"orders[3]@{id_}") for id_ in wanted]


def test_without_being_asked_nothing_is_kept(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 3)
    with running_bridge(tables, {"out": ScriptedSink(named)}, {"ROUTES__OUT__QUEUES": "q"}):
        finished(look, 3)
    assert receipts(look) == []


@pytest.mark.parametrize("claim", ["lock", "lease"])
def test_they_are_written_in_the_transaction_that_settles(
    tables: Database, look: psycopg.Connection[Any], claim: str
) -> None:
    look.execute("DROP TABLE IF EXISTS seen")
    look.execute("CREATE TABLE seen (job bigint, what text, at xid8)")
    look.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_TABLE_NAME = 'river_job' THEN INSERT INTO seen"
        " VALUES (NEW.id, 'row', pg_current_xact_id());"
        " ELSE INSERT INTO seen VALUES (NEW.job_id, 'receipt', pg_current_xact_id()); END IF;"
        " RETURN NEW; END $$"
    )
    look.execute(
        "CREATE TRIGGER guard AFTER INSERT ON riverbridge_receipt FOR EACH ROW"
        " EXECUTE FUNCTION guard()"
    )
    look.execute(
        "CREATE TRIGGER guard AFTER UPDATE ON river_job FOR EACH ROW"
        " WHEN (NEW.state = 'completed') EXECUTE FUNCTION guard()"
    )
    fill(look, 20)
    with running_bridge(tables, {"out": ScriptedSink(named)}, KEPT | {"ROUTES__OUT__CLAIM": claim}):
        finished(look, 20)
    rows = look.execute("SELECT job, at FROM seen WHERE what = 'row' ORDER BY job").fetchall()
    assert len(rows) == 20
    assert (
        look.execute("SELECT job, at FROM seen WHERE what = 'receipt' ORDER BY job").fetchall()
        == rows
    )


@pytest.mark.parametrize("claim", ["lock", "lease"])
def test_a_receipt_that_cannot_be_written_holds_no_job(
    tables: Database,
    look: psycopg.Connection[Any],
    claim: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    look.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'the disk is full'; END $$"
    )
    look.execute(
        "CREATE TRIGGER guard BEFORE INSERT ON riverbridge_receipt FOR EACH ROW"
        " EXECUTE FUNCTION guard()"
    )
    fill(look, 3)
    sink = ScriptedSink(named)
    with running_bridge(tables, {"out": sink}, KEPT | {"ROUTES__OUT__CLAIM": claim}):
        finished(look, 3)
    assert sorted(sink.job_ids) == [1, 2, 3]
    assert receipts(look) == []
    assert "receipts were not kept, their jobs are settled: the disk is full" in caplog.text


def test_they_stay_when_their_job_is_deleted(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 3)
    env = KEPT | {"ROUTES__OUT__ON_SUCCESS": "delete"}
    with running_bridge(tables, {"out": ScriptedSink(named)}, env):
        eventually(lambda: look.execute("SELECT count(*) FROM river_job").fetchone() == (0,))
    assert [row[0] for row in receipts(look)] == [1, 2, 3]


def test_a_job_is_shown_with_its_receipts(tables: Database, look: psycopg.Connection[Any]) -> None:
    id_ = add(look)
    look.execute(
        "INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt, at) VALUES"
        " (%(id)s, 'events', 1, E'jobs[3]@1042\\u001b', '2026-01-02 03:04:05Z'),"
        " (%(id)s, 'hook', 2, NULL, '2026-01-02 03:05:05Z'), (%(id)s + 1, 'hook', 2, NULL, now())",
        {"id": id_},
    )
    env = {"DATABASE_URL": tables.dsn}
    shown = CliRunner().invoke(main, ["jobs", "show", str(id_)], env=env)
    assert shown.stdout.endswith(
        "confirmed by events on attempt 1, 2026-01-02 03:04:05Z: jobs[3]@1042\\u001b\n"
        "confirmed by hook on attempt 2, 2026-01-02 03:05:05Z\n"
    )
    line = CliRunner().invoke(main, ["jobs", "show", str(id_), "--json"], env=env)
    job = json.loads(line.stdout)
    assert (job["id"], job["state"]) == (id_, "available")
    assert job["receipts"] == [
        {
            "sink": "events",
            "attempt": 1,
            "receipt": "jobs[3]@1042\u001b",
            "at": "2026-01-02T03:04:05Z",
        },
        {"sink": "hook", "attempt": 2, "receipt": None, "at": "2026-01-02T03:05:05Z"},
    ]


def test_a_job_is_shown_where_there_is_no_table_of_ours(database: Database) -> None:
    with database.connect() as connection:
        id_ = add(connection)
        connection.execute("DROP TABLE riverbridge_receipt")
    env = {"DATABASE_URL": database.dsn}
    for schema in ([], ["--schema", "public"]):
        shown = CliRunner().invoke(main, ["jobs", "show", str(id_), *schema], env=env)
        assert shown.exit_code == 0, shown.output
        assert "confirmed" not in shown.stdout


def test_old_receipts_are_deleted_a_batch_at_a_time(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    look.execute(
        "INSERT INTO riverbridge_receipt (job_id, sink, attempt, at)"
        " SELECT n, 's', 1, now() - CASE WHEN n <= 25 THEN interval '7 days 1 minute'"
        " ELSE interval '6 days 23 hours' END FROM generate_series(1, 40) AS n"
    )
    cleaner = TableCleaner("receipt", keep=timedelta(days=7))
    cleaner.batch.limit = 10
    for left in (30, 20, 15, 15):
        cleaner.step(look, 5)
        assert len(receipts(look)) == left
    assert cleaner.deleted == 25
    assert min(row[0] for row in receipts(look)) == 26
