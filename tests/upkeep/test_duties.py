"""Batches, announcements and retention, against a real server; the batch size by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from riverbridge.store import upkeep
from riverbridge.store.limits import bounded_transaction
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.duty import BATCH, REDUCED_BATCH, BatchSize, Duty
from riverbridge.upkeep.queue_cleaner import QueueCleaner
from riverbridge.upkeep.scheduler import Scheduler
from tests.support.database import Database
from tests.upkeep.clock import Clock

INSERT = """
INSERT INTO river_job (state, kind, args, queue, scheduled_at)
VALUES ('scheduled', 'k', '{}', %s, now() + %s * interval '1 second')
"""


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def heard(listener: psycopg.Connection) -> list[str]:
    """The queues announced so far, without waiting for more."""
    return [
        json.loads(notification.payload)["queue"] for notification in listener.notifies(timeout=0.2)
    ]


def test_announces_queues_with_jobs_to_claim_now(
    database: Database, conn: psycopg.Connection
) -> None:
    clock = Clock()
    scheduler = Scheduler(clock=clock)
    with database.connect() as listener:
        listener.execute('LISTEN "public.river_insert"')
        for queue, due in (("now", -1), ("now", -1), ('odd "queue"', -1), ("soon", 4)):
            conn.execute(INSERT, (queue, due))
        scheduler.step(conn, 5)
        assert sorted(heard(listener)) == ["now", 'odd "queue"']
        assert scheduler.scheduled == 4


def test_announces_a_queue_once_in_100_ms(database: Database, conn: psycopg.Connection) -> None:
    clock = Clock()
    stopped = clock()
    scheduler = Scheduler(clock=lambda: stopped + clock.ahead)
    with database.connect() as listener:
        listener.execute('LISTEN "public.river_insert"')
        for pause in (0, 0.1, 0.01):
            clock.ahead += pause
            conn.execute(INSERT, ("default", -1))
            scheduler.step(conn, 5)
        assert heard(listener) == ["default", "default"]
        assert scheduler.scheduled == 3


def test_a_row_others_hold_does_not_stop_the_rest(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute(INSERT, ("default", -2))
    conn.execute(INSERT, ("default", -1))
    with database.connect(autocommit=False) as holder:
        holder.execute("SELECT FROM river_job ORDER BY id LIMIT 1 FOR UPDATE")
        scheduler = Scheduler()
        scheduler.step(conn, 2)
        assert scheduler.scheduled == 1
        holder.rollback()
        scheduler.step(conn, 2)
        assert scheduler.scheduled == 2


def test_a_conflict_is_counted_and_logged(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    conn.execute(
        "INSERT INTO river_job (state, kind, args, unique_key, unique_states)"
        " VALUES ('running', 'k', '{}', 'x', '11010101'),"
        " ('retryable', 'k', '{}', 'x', '11010101')"
    )
    scheduler = Scheduler()
    scheduler.step(conn, 5)
    assert scheduler.conflicts == 1
    assert "discarded" in caplog.text
    row = conn.execute("SELECT metadata FROM river_job WHERE state = 'discarded'").fetchone()
    assert row == ({"unique_key_conflict": "scheduler_discarded"},)


def test_a_full_batch_is_followed_soon_by_the_next(conn: psycopg.Connection) -> None:
    clock = Clock()
    scheduler = Scheduler(clock=clock)
    scheduler.batch.limit = 2
    for _ in range(5):
        conn.execute(INSERT, ("default", -1))
    begun = clock()
    counts: list[int] = []
    while not counts or counts[-1] % 2 == 0:
        scheduler.step(conn, 5)
        counts.append(scheduler.scheduled)
        if counts[-1] % 2 == 0:
            assert 0 < scheduler.due - begun < 3
    assert counts == [2, 4, 5]
    assert begun + 5 <= scheduler.due < begun + 6


def test_time_outs_shrink_the_batch_and_are_retried(
    database: Database, conn: psycopg.Connection
) -> None:
    clock = Clock()
    cleaner = Cleaner(clock=clock)
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE river_job")
        for _ in range(3):
            assert cleaner.batch.limit == BATCH
            with pytest.raises(psycopg.errors.QueryCanceled):
                cleaner.step(conn, 0.05)
            assert cleaner.due - clock() < 5
    assert cleaner.batch.limit == REDUCED_BATCH
    cleaner.step(conn, 5)
    assert cleaner.batch.limit == REDUCED_BATCH


def test_only_time_outs_in_a_row_within_ten_minutes_count() -> None:
    clock = Clock()
    batch = BatchSize(clock)
    for pause in (0, 0, 601, 1):
        clock.ahead += pause
        batch.timed_out()
    assert batch.limit == BATCH
    batch.answered()
    batch.timed_out()
    batch.timed_out()
    assert batch.limit == BATCH
    batch.timed_out()
    assert batch.limit == REDUCED_BATCH


def test_a_limit_leaves_nothing_in_the_session(conn: psycopg.Connection) -> None:
    before = settings(conn)
    with bounded_transaction(conn, 1.5):
        assert settings(conn) == ("1500ms", "5s")
    assert settings(conn) == before


def settings(conn: psycopg.Connection) -> tuple[str, str]:
    row = conn.execute(
        "SELECT current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout')"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("keep", [None, timedelta(seconds=-1), timedelta.max])
def test_kept_for_ever(conn: psycopg.Connection, keep: timedelta | None) -> None:
    conn.execute(
        "INSERT INTO river_job (state, kind, args, finalized_at)"
        " VALUES ('completed', 'k', '{}', '1999-01-01'), ('discarded', 'k', '{}', '1999-01-01')"
    )
    cleaner = Cleaner(completed=keep, cancelled=keep)
    cleaner.step(conn, 5)
    assert cleaner.deleted == 1
    assert conn.execute("SELECT state::text FROM river_job").fetchall() == [("completed",)]


def test_a_job_retried_meanwhile_is_not_deleted(
    database: Database, conn: psycopg.Connection
) -> None:
    conn.execute(
        "INSERT INTO river_job (state, kind, args, finalized_at)"
        " VALUES ('discarded', 'k', '{}', '1999-01-01')"
    )
    keep = {state: timedelta(0) for state in upkeep._CLEANED}
    with database.connect(autocommit=False) as holder:
        holder.execute("UPDATE river_job SET state = 'available', finalized_at = NULL")
        assert upkeep.clean(conn, keep=keep, limit=10) == 0
        holder.commit()
    assert upkeep.clean(conn, keep=keep, limit=10) == 0
    assert conn.execute("SELECT count(*) FROM river_job").fetchone() == (1,)


def test_every_duty_says_its_name() -> None:
    duties: list[Duty] = [Scheduler(), Cleaner(), QueueCleaner()]
    assert [duty.name for duty in duties] == ["scheduler", "cleaner", "queue_cleaner"]
