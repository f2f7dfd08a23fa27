"""Periodic jobs of a leader: what is inserted, when, and what stops nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import psycopg
import pytest

from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertManyParams, InsertOpts, NewJob
from riverbridge.model.schedule import CronSchedule, PeriodicInterval
from riverbridge.model.unique import UniqueOpts, unique_key
from riverbridge.upkeep import enqueuer as enqueuer_module
from riverbridge.upkeep.enqueuer import PeriodicEnqueuer
from riverbridge.upkeep.leader import Leader
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
from tests.support.database import Database
from tests.support.running import at_once, running
from tests.support.wait import eventually
from tests.upkeep.clock import Clock
from tests.upkeep.periodical import SECOND, START, Wall, errors, insert, job, leader, made

EVERY_10_S = PeriodicInterval(timedelta(seconds=10))
GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not this kind'; END $$;
CREATE TRIGGER guard BEFORE INSERT ON river_job
    FOR EACH ROW WHEN (NEW.kind = 'refused') EXECUTE FUNCTION guard()
"""


@pytest.fixture
def conn(tables: Database) -> Iterator[psycopg.Connection]:
    with tables.connect() as connection:
        yield connection


@dataclass
class Report:
    day: int
    kind: ClassVar[str] = "report"

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="reports", max_attempts=3, tags=["daily"])


def test_a_run_is_inserted_at_its_time_and_may_be_worked_at_once(
    tables: Database, conn: psycopg.Connection
) -> None:
    wall = Wall()
    opts = InsertOpts(priority=2, metadata={"team": "a", "periodic": False})
    reports = PeriodicJob(EVERY_10_S, lambda: InsertManyParams(Report(1), opts), id="daily.report")
    enqueuer = leader(wall, reports)
    enqueuer.step(conn, 5)
    wall.forward(9.85)
    enqueuer.step(conn, 5)
    assert made(conn, "report") == []
    with tables.connect() as listener:
        listener.execute('LISTEN "public.river_insert"')
        wall.forward(0.1)
        enqueuer.step(conn, 5)
        enqueuer.step(conn, 5)
        announced = [json.loads(n.payload) for n in listener.notifies(timeout=2, stop_after=1)]
    assert announced == [{"queue": "reports"}]
    columns = "state::text, scheduled_at, args, queue, priority, max_attempts, tags, metadata"
    rows = conn.execute(f"SELECT {columns} FROM river_job".encode()).fetchall()
    metadata = {"team": "a", "periodic": True, "river:periodic_job_id": "daily.report"}
    run = START + 10 * SECOND
    assert rows == [("available", run, {"day": 1}, "reports", 2, 3, ["daily"], metadata)]
    assert enqueuer.inserted == 1


def test_an_instant_among_the_options_is_kept(conn: psycopg.Connection) -> None:
    wall, at = Wall(), START + timedelta(hours=3)
    later = PeriodicJob(
        EVERY_10_S, lambda: InsertManyParams(RawArgs("tick", "{}"), InsertOpts(scheduled_at=at))
    )
    enqueuer = leader(wall, later)
    enqueuer.step(conn, 5)
    wall.forward(10)
    enqueuer.step(conn, 5)
    rows = conn.execute("SELECT state::text, scheduled_at, metadata FROM river_job").fetchall()
    assert rows == [("scheduled", at, {"periodic": True})]


def test_runs_that_are_overdue_are_caught_up_and_the_rhythm_stays(conn: psycopg.Connection) -> None:
    wall = Wall()
    enqueuer = leader(wall, job(EVERY_10_S))
    enqueuer.step(conn, 5)
    for seconds in (13, 22, 4.95, 100):  # the last run is due 50 ms early
        wall.forward(seconds)
        enqueuer.step(conn, 5)
    assert made(conn) == [10.0 * n for n in range(1, 15)]


def test_a_run_is_unique_in_the_period_of_its_own_time(conn: psycopg.Connection) -> None:
    """River's go by the time of the insert: 50 ms early, a run would be the one before it again."""
    wall, opts = Wall(), UniqueOpts(by_period=timedelta(seconds=10))
    ticks = PeriodicJob(
        EVERY_10_S, lambda: InsertManyParams(RawArgs("tick", "{}"), InsertOpts(unique_opts=opts))
    )
    found: list[NewJob] = []
    enqueuer = leader(wall, ticks, insert=lambda conn, jobs: found.extend(jobs))
    for seconds in (0, 9.95, 20):
        wall.forward(seconds)
        enqueuer.step(conn, 5)
    at = [START + n * SECOND for n in (10, 20, 30)]
    assert [job.unique_key for job in found] == [
        unique_key("tick", "{}", queue="default", unique_opts=opts, now=now) for now in at
    ]


def test_it_is_due_again_when_the_next_run_is(conn: psycopg.Connection) -> None:
    wall = Wall()
    stopped = Clock()()
    jobs = PeriodicJobs([job(EVERY_10_S), job(CronSchedule("0 0 * * *"))])
    enqueuer = PeriodicEnqueuer(jobs, insert, now=wall, clock=lambda: stopped)
    enqueuer.begin()
    enqueuer.step(conn, 5)
    assert enqueuer.due == stopped + 10
    wall.forward(10)
    enqueuer.step(conn, 5)
    assert enqueuer.due == stopped + 10
    jobs.remove(0)
    enqueuer.step(conn, 5)
    assert enqueuer.due == stopped + 60  # the clock is looked at each minute
    jobs.add(job(EVERY_10_S))
    assert enqueuer.due == stopped


def test_a_new_term_begins_anew(conn: psycopg.Connection) -> None:
    wall = Wall()
    enqueuer = leader(wall, job(EVERY_10_S), job(EVERY_10_S, "first", run_on_start=True))
    enqueuer.step(conn, 5)
    wall.forward(6)
    enqueuer.begin()
    for _ in range(2):
        enqueuer.step(conn, 5)
        wall.forward(10)
    assert made(conn) == [16]
    assert made(conn, "first") == [0, 6, 16]


def test_jobs_come_and_go_at_run_time(conn: psycopg.Connection) -> None:
    wall = Wall()
    jobs = PeriodicJobs()
    enqueuer = PeriodicEnqueuer(jobs, insert, now=wall)
    enqueuer.begin()
    enqueuer.step(conn, 5)
    handle = jobs.add(job(EVERY_10_S, run_on_start=True))
    enqueuer.step(conn, 5)
    assert made(conn) == [0]
    jobs.add(job(EVERY_10_S, "other"))
    wall.forward(10)
    enqueuer.step(conn, 5)
    jobs.remove(handle)
    wall.forward(10)
    enqueuer.step(conn, 5)
    jobs.clear()
    wall.forward(10)
    enqueuer.step(conn, 5)
    assert made(conn) == [0, 10]
    assert made(conn, "other") == [20]


class Moody:
    """A constructor that fails, skips, gives what no job can be, and at last a job."""

    def __init__(self) -> None:
        self.answers: list[object] = [ZeroDivisionError("a defect"), None, RawArgs("tick", "[]"), 5]

    def __call__(self) -> object:
        answer = self.answers.pop(0) if self.answers else RawArgs("tick", "{}")
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_run_that_cannot_be_made_is_lost_alone(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    moody = PeriodicJob(EVERY_10_S, Moody(), id="moody")
    enqueuer = leader(wall, moody, job(EVERY_10_S, "steady"))
    enqueuer.step(conn, 5)
    for _ in range(5):
        wall.forward(10)
        enqueuer.step(conn, 5)
    assert made(conn) == [50]
    assert made(conn, "steady") == [10, 20, 30, 40, 50]
    said = errors(caplog.records)
    assert [text.partition(": ")[0] for text in said] == ["periodic job moody"] * 3
    assert "a run is lost: a defect" in said[0]
    assert "must be a JSON object" in said[1]


def test_a_run_that_the_database_refuses_is_lost_alone(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    conn.execute(GUARD)
    wall = Wall()
    enqueuer = leader(wall, *(job(EVERY_10_S, kind) for kind in ("a", "refused", "b")))
    enqueuer.step(conn, 5)
    for _ in range(2):
        wall.forward(10)
        enqueuer.step(conn, 5)
    assert made(conn, "a") == made(conn, "b") == [10, 20]
    assert made(conn, "refused") == []
    assert enqueuer.inserted == 4
    assert len(errors(caplog.records)) == 2
    assert "not this kind" in caplog.text


def test_a_run_that_must_wait_for_others_holds_up_none(
    tables: Database,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a unique job does while a transaction with the same key is open."""
    monkeypatch.setattr(enqueuer_module, "LOCK_LIMIT", 0.1)
    wall = Wall()

    def waits(conn: psycopg.Connection, jobs: Sequence[NewJob]) -> None:
        if any(job.kind == "unique" for job in jobs):
            conn.execute("LOCK TABLE river_queue")
        insert(conn, jobs)

    enqueuer = leader(wall, job(EVERY_10_S, "unique"), job(EVERY_10_S), insert=waits)
    enqueuer.step(conn, 5)
    wall.forward(10)
    with tables.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE river_queue")
        enqueuer.step(conn, 5)
    assert (made(conn, "unique"), made(conn)) == ([], [10])
    assert "lock timeout" in caplog.text


def test_a_schedule_that_fails_is_tried_again_and_stops_nothing(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        calls = 0

        def next(self, after: datetime) -> datetime:
            self.calls += 1
            raise ZeroDivisionError("a defect")

    broken, wall = Broken(), Wall()
    enqueuer = leader(wall, job(broken), job(EVERY_10_S, "steady"))
    for _ in range(4):
        enqueuer.step(conn, 5)
        wall.forward(2)
    assert broken.calls == 3  # at once, after 1 s, after 2 s; the next in 4 s
    wall.forward(2)
    enqueuer.step(conn, 5)
    assert made(conn, "steady") == [10]
    assert "will try again in 4 s" in caplog.text


def test_a_lost_connection_is_no_fault_of_a_job(
    conn: psycopg.Connection, tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    broken: list[NewJob] = []

    def cut(conn: psycopg.Connection, jobs: Sequence[NewJob]) -> None:
        broken.extend(jobs)
        conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    enqueuer = leader(wall, job(EVERY_10_S), insert=cut)
    with tables.connect() as doomed:
        enqueuer.step(doomed, 5)
        wall.forward(10)
        with pytest.raises(psycopg.OperationalError):
            enqueuer.step(doomed, 5)
    assert len(broken) == 1
    assert errors(caplog.records) == []
    # As River has it, the run is not made again: it may have been committed.
    enqueuer.step(conn, 5)
    assert made(conn) == []


def test_a_leader_inserts_in_time_and_hears_of_new_jobs(
    tables: Database, conn: psycopg.Connection
) -> None:
    every_second = PeriodicInterval(timedelta(seconds=1))
    jobs = PeriodicJobs([job(every_second)])
    late: list[timedelta] = []

    def timed(conn: psycopg.Connection, new: Sequence[NewJob]) -> None:
        row = conn.execute("SELECT now()").fetchone()
        assert row is not None
        late.extend(row[0] - each.scheduled_at for each in new if each.scheduled_at)
        insert(conn, new)

    enqueuer = PeriodicEnqueuer(jobs, timed)
    with running(Leader(tables.connect, client_id="us", duties=[enqueuer])):
        eventually(lambda: len(late) == 2)
        assert max(late) < timedelta(seconds=0.5)
        # Now nothing else is due for a minute.
        jobs.clear()
        jobs.add(job(CronSchedule("0 0 1 1 *"), "added", run_on_start=True))
        eventually(lambda: made(conn, "added"), within=3)


def test_jobs_are_added_and_removed_while_a_leader_works(
    tables: Database, conn: psycopg.Connection
) -> None:
    jobs = PeriodicJobs()
    enqueuer = PeriodicEnqueuer(jobs, insert)
    with running(Leader(tables.connect, client_id="us", duties=[enqueuer])):

        def work() -> None:
            for _ in range(30):
                jobs.add(job(EVERY_10_S, run_on_start=True))

        at_once(*[work] * 3)
        eventually(lambda: len(made(conn)) == 90)
