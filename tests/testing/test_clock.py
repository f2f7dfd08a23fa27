"""Time moved by a test: for inserts, retries, snoozes, periods and periodic jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge import (
    Client,
    ClientError,
    CronSchedule,
    InsertOpts,
    InvalidRequest,
    JobState,
    PeriodicInterval,
    PeriodicJob,
    PeriodicJobs,
    UniqueOpts,
)
from riverbridge.testing import (
    AsyncClock,
    Clock,
    Drained,
    JobTester,
    PeriodicTester,
    require_inserted,
    require_many_inserted,
)
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Way
from tests.support.database import Database
from tests.testing.shop import After, Mail, Ship, shop

Connection = psycopg.Connection[Any]

NEW_YEAR = datetime(2031, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=10)


@pytest.fixture
def connection(tables: Database) -> Iterator[Connection]:
    with tables.connect() as connection:
        yield connection


@pytest.fixture
def clock(connection: Connection) -> Iterator[Clock]:
    yield Clock(connection).start()
    connection.execute("DROP TABLE riverbridge_clock CASCADE")
    left = connection.execute("SELECT to_regprocedure('public.now()')").fetchone()
    assert left == (None,), "the functions go with the table"


def test_it_goes_on_from_where_it_is_set(connection: Connection, clock: Clock) -> None:
    assert abs(clock.now() - datetime.now(UTC)) < MOMENT
    clock.set(NEW_YEAR)
    assert NEW_YEAR < clock.now() < NEW_YEAR + MOMENT
    clock.advance(timedelta(days=200))  # over a change of the clocks, in most zones
    connection.execute("SET timezone = 'Europe/Berlin'")
    assert NEW_YEAR + timedelta(days=200) < clock.now() < NEW_YEAR + timedelta(days=200) + MOMENT
    clock.advance(-timedelta(days=200))
    job = Client(connection).insert(Mail("ann")).job
    assert NEW_YEAR < job.created_at <= job.scheduled_at < NEW_YEAR + MOMENT
    with pytest.raises(InvalidRequest, match="time zone"):
        clock.set(datetime(2031, 1, 1))


def test_it_moves_within_a_transaction_that_takes_it_back(
    connection: Connection,
) -> None:
    with connection.transaction(force_rollback=True):
        clock = Clock(connection).start()
        clock.set(NEW_YEAR)
        assert clock.now() == NEW_YEAR
        clock.advance(HOUR)
        assert clock.now() == NEW_YEAR + HOUR
    left = connection.execute(
        "SELECT current_setting('search_path'), to_regclass('riverbridge_clock'),"
        " to_regprocedure('public.now()')"
    ).fetchone()
    assert left == ('"$user", public', None, None)


def test_a_job_scheduled_for_later_is_worked_then(connection: Connection, clock: Clock) -> None:
    tester = JobTester(connection, shop())
    at = clock.now() + 3 * HOUR
    Client(connection).insert(Mail("ann"), InsertOpts(scheduled_at=at))
    clock.advance(2.9 * HOUR)
    assert tester.drain() == Drained()
    clock.advance(0.1 * HOUR)
    assert tester.drain() == Drained(completed=1)
    job = require_inserted(connection, Mail, scheduled_at=at, state="completed")
    assert job.attempted_at is not None
    assert at <= job.attempted_at < at + MOMENT


def test_retries_and_snoozes_come_when_they_are_due(connection: Connection, clock: Clock) -> None:
    tester = JobTester(connection, shop(), retry=After(7200))
    Client(connection).insert_many([Mail("broken"), Mail("later")])
    assert tester.drain() == Drained(failed=1, snoozed=1)
    assert tester.drain() == Drained()
    clock.advance(HOUR + MOMENT)
    assert tester.drain() == Drained(snoozed=1)
    clock.advance(HOUR)
    assert tester.drain() == Drained(failed=1, snoozed=1)
    job = require_inserted(connection, Mail, args={"to": "broken"}, state=JobState.RETRYABLE)
    assert job.errors is not None
    gap = job.errors[1].at - job.errors[0].at
    assert 2 * HOUR < gap < 2 * HOUR + 3 * MOMENT


def test_a_period_of_unique_jobs_goes_by_it(connection: Connection, clock: Clock) -> None:
    client = Client(connection, now=clock.now)
    opts = InsertOpts(unique_opts=UniqueOpts(by_period=timedelta(days=1)))
    clock.set(NEW_YEAR)
    assert not client.insert(Mail("ann"), opts).unique_skipped_as_duplicate
    clock.advance(23 * HOUR)
    assert client.insert(Mail("ann"), opts).unique_skipped_as_duplicate
    clock.advance(2 * HOUR)
    assert not client.insert(Mail("ann"), opts).unique_skipped_as_duplicate


def test_periodic_jobs_are_inserted_by_it(connection: Connection, clock: Clock) -> None:
    jobs = PeriodicJobs(
        [
            PeriodicJob(PeriodicInterval(HOUR), lambda: Mail("hourly"), run_on_start=True),
            PeriodicJob(
                CronSchedule("30 2 * * *", "Europe/Berlin"),
                lambda: Ship(1),
                id="nightly",
                durable=True,
            ),
        ]
    )
    clock.set(NEW_YEAR)
    leader = PeriodicTester(connection, jobs)
    assert [leader.run(), leader.run()] == [1, 0]
    clock.advance(HOUR)
    assert leader.run() == 1
    hourly = require_many_inserted(connection, [Mail, Mail])
    assert abs(hourly[1].scheduled_at - hourly[0].scheduled_at - HOUR) < MOMENT
    clock.advance(HOUR)
    # 1:30 UTC has passed meanwhile; another leader makes the run that nobody made.
    assert PeriodicTester(connection, jobs).run() == 2
    at = NEW_YEAR + 1.5 * HOUR
    nightly = require_inserted(connection, Ship, metadata={"river:periodic_job_id": "nightly"})
    assert nightly.scheduled_at == at
    assert JobTester(connection, shop()).drain() == Drained(completed=4)


def test_a_leader_has_a_connection_for_itself(connection: Connection) -> None:
    with connection.transaction(), pytest.raises(ClientError, match="autocommit"):
        PeriodicTester(connection, PeriodicJobs()).run()


def test_other_sessions_follow_and_the_schema_may_be_another(tables: Database) -> None:
    with tables.connect() as first, tables.connect() as second, tables.connect() as third:
        first.execute("CREATE SCHEMA another")
        clock = Clock(first, schema="another").start()
        clock.set(NEW_YEAR)
        clock.follow(second)
        path = second.execute("SELECT current_setting('search_path')").fetchone()
        assert path == ("public, another, pg_catalog",)
        client = Client(second)
        assert client.insert(Mail("ann")).job.created_at.year == 2031
        assert Client(third).insert(Mail("ann")).job.created_at.year != 2031
        clock.start()
        assert clock.now().year == 2031, "starting it again must not set it back"


@pytest.mark.parametrize(
    "way", [way for way in SYNC if way.name in ("psycopg2", "django", "connection-psycopg2")],
    ids=lambda way: way.name,
)  # fmt: skip
def test_on_other_kinds_of_connection(tables: Database, way: Way) -> None:
    async def scenario() -> None:
        async with way.given(tables) as given, way.begin(given) as tx:
            clock = Clock(tx).start()
            clock.set(NEW_YEAR)
            assert clock.now() == NEW_YEAR
            tester = JobTester(tx, shop())
            assert tester.work(Mail("ann")).job.finalized_at is not None
            assert require_inserted(tx, Mail).created_at == NEW_YEAR
            raise KeyError("rolled back")

    with pytest.raises(KeyError):
        scenario().send(None)


@pytest.mark.parametrize(
    "way", [way for way in ASYNC if way.name in ("asyncpg", "async-session-asyncpg")],
    ids=lambda way: way.name,
)  # fmt: skip
def test_on_other_kinds_of_connection_async(tables: Database, way: Way) -> None:
    async def scenario() -> None:
        async with way.begun(tables) as tx:
            clock = await AsyncClock(tx).start()
            await clock.set(NEW_YEAR)
            await clock.advance(HOUR)
            assert await clock.now() == NEW_YEAR + HOUR
            raise KeyError("rolled back")

    with pytest.raises(KeyError):
        asyncio.run(scenario())
