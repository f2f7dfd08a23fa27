"""The console's tables are cleaned: its audit, and its operations that have ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from riverbridge.upkeep.table_cleaner import TableCleaner
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.wait import eventually

KEEP = timedelta(days=90)


def audited(look: psycopg.Connection[Any], days: str, count: int = 1) -> None:
    look.execute(
        "INSERT INTO riverbridge_audit (at, who, role, way, action, subject)"
        " SELECT now() - %s::interval, 'ann', 'admin', 'password', 'retry', 'job 1'"
        " FROM generate_series(1, %s)",
        [days, count],
    )


def operated(look: psycopg.Connection[Any], started: str, ended: str | None) -> None:
    look.execute(
        "INSERT INTO riverbridge_operation (key, action, search, job_state, state, started_by,"
        " role, way, started_at, ended_at, total, last_id)"
        " SELECT gen_random_uuid()::text, 'retry', '', '',"
        " CASE WHEN ended IS NULL THEN 'open' ELSE 'finished' END, 'ann', 'admin', 'token',"
        " now() - started, now() - ended, 1, 1"
        " FROM (SELECT %s::interval AS started, %s::interval AS ended) AS given",
        [started, ended],
    )


def count(look: psycopg.Connection[Any], table: str) -> int:
    row = look.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_old_entries_of_the_audit_go_a_batch_at_a_time(look: psycopg.Connection[Any]) -> None:
    audited(look, "90 days 1 minute", 25)
    audited(look, "89 days 23 hours", 15)
    cleaner = TableCleaner("audit", keep=KEEP)
    cleaner.batch.limit = 10
    for left in (30, 20, 15, 15):
        cleaner.step(look, 5)
        assert count(look, "riverbridge_audit") == left
    assert cleaner.deleted == 25
    assert look.execute("SELECT min(id) FROM riverbridge_audit").fetchone() == (26,)


def test_operations_go_long_after_they_have_ended(look: psycopg.Connection[Any]) -> None:
    operated(look, "200 days", None)  # never mind how long it takes: it is not over
    operated(look, "200 days", "89 days")
    for _ in range(3):
        operated(look, "92 days", "91 days")
    cleaner = TableCleaner("operation", keep=KEEP)
    cleaner.batch.limit = 2
    for left in (3, 2, 2):
        cleaner.step(look, 5)
        assert count(look, "riverbridge_operation") == left
    ids = look.execute("SELECT id FROM riverbridge_operation ORDER BY id").fetchall()
    assert ids == [(1,), (2,)]


def test_a_bridge_that_leads_cleans_them_as_it_is_told(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    audited(look, "3 days")
    operated(look, "3 days", "2 days")
    sinks = {"out": ScriptedSink()}
    with running_bridge(tables, sinks, {"RETENTION__AUDIT": "1d"}):
        eventually(lambda: not count(look, "riverbridge_audit"))
        eventually(lambda: not count(look, "riverbridge_operation"))
