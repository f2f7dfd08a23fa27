"""Queues that nobody reports are forgotten, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from riverbridge.upkeep.queue_cleaner import QueueCleaner
from tests.support.database import Database


@pytest.fixture
def conn(tables: Database) -> Iterator[psycopg.Connection]:
    with tables.connect() as connection:
        connection.execute(
            "INSERT INTO river_queue (name, paused_at, updated_at) VALUES"
            " ('fresh', NULL, now() - interval '23 hours 59 minutes'),"
            " ('old', NULL, now() - interval '24 hours 1 second'),"
            " ('paused', '2026-01-01Z', now() - interval '25 hours')"
        )
        yield connection


def queues(conn: psycopg.Connection) -> list[str]:
    return [name for (name,) in conn.execute("SELECT name FROM river_queue ORDER BY name")]


def test_after_a_day_a_queue_is_forgotten_though_it_is_paused(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    cleaner = QueueCleaner()
    with caplog.at_level("INFO"):
        cleaner.step(conn, 5)
    assert queues(conn) == ["fresh"]
    assert cleaner.deleted == 2
    assert "old, paused" in caplog.text


def test_a_queue_that_is_reported_meanwhile_stays(
    tables: Database, conn: psycopg.Connection
) -> None:
    cleaner = QueueCleaner()
    with tables.connect(autocommit=False) as worker:
        worker.execute("UPDATE river_queue SET updated_at = now() WHERE name = 'old'")
        cleaner.step(conn, 0.5)
        worker.commit()
    cleaner.step(conn, 5)
    assert queues(conn) == ["fresh", "old"]
