"""Durable periodic jobs: each run once, whoever leads, and whatever ends a leader."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal

import psycopg
import pytest

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.errors import PeriodicJobNotFound
from riverbridge.model.args import RawArgs
from riverbridge.model.options import NewJob
from riverbridge.model.schedule import CronSchedule, Missed, NeverSchedule, PeriodicInterval
from riverbridge.store.exchange import carry_out
from riverbridge.store.migrate import Migrator
from riverbridge.store.periodic import periodic_change
from riverbridge.upkeep.enqueuer import LOOK, PeriodicEnqueuer
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
from tests.support.database import Database
from tests.support.running import at_once
from tests.upkeep.periodical import (
    SECOND,
    START,
    Wall,
    durable,
    errors,
    insert,
    job,
    leader,
    made,
)

EVERY_10_S = PeriodicInterval(timedelta(seconds=10))
EVERY_MINUTE = CronSchedule("* * * * *", "Europe/Berlin")
NIGHTLY = CronSchedule("0 3 * * *")


@pytest.fixture
def conn(tables: Database) -> Iterator[psycopg.Connection]:
    with tables.connect() as connection:
        yield connection


def next_run(conn: psycopg.Connection, id_: str = "tick") -> float:
    row = conn.execute(
        "SELECT next_run_at FROM riverbridge_periodic_job WHERE id = %s", (id_,)
    ).fetchone()
    assert row is not None
    seconds: float = (row[0] - START) / SECOND
    return seconds


def by_hand(conn: psycopg.Connection, change: Literal["ask", "pause", "resume"]) -> None:
    carry_out(periodic_change("tick", change, schema=None), lambda query: send(conn, query))


def die(conn: psycopg.Connection, jobs: Sequence[NewJob]) -> None:
    """Insert, and lose the connection before the commit."""
    insert(conn, jobs)
    conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


class Succession:
    """Leaders that come and go, on one clock, some of them two at a time."""

    def __init__(self, tables: Database, seed: int) -> None:
        self.tables = tables
        self.wall = Wall()
        self.dice = random.Random(seed)
        self.jobs = [
            durable(EVERY_10_S, "interval", "run_all"),
            durable(EVERY_MINUTE, "cron", "run_all"),
        ]

    def steps(self, insert_or_die: bool = False, together: threading.Barrier | None = None) -> None:
        """One leader's term: it steps a few times, and its end may be sudden."""
        with self.tables.connect() as conn:
            enqueuer = leader(self.wall, *self.jobs, insert=die if insert_or_die else insert)
            for _ in range(self.dice.randint(1, 3)):
                if together is not None:
                    together.wait(10)
                else:
                    self.wall.forward(self.dice.choice((0.5, 4.0, 9.95, 10, 27.3)))
                try:
                    enqueuer.step(conn, 5)
                except psycopg.OperationalError:
                    return

    def rivals(self) -> None:
        """Two that both believe to lead do the same at the same time."""
        together = threading.Barrier(2, action=lambda: self.wall.forward(self.dice.choice((3, 12))))
        failures: list[BaseException] = []

        def work() -> None:
            try:
                with self.tables.connect() as conn:
                    enqueuer = leader(self.wall, *self.jobs)
                    for _ in range(3):
                        together.wait(10)
                        enqueuer.step(conn, 5)
            except BaseException as error:
                failures.append(error)

        at_once(*[work] * 2)
        assert failures == []


def test_a_hundred_changes_of_leader_neither_double_nor_lose_a_run(
    tables: Database, conn: psycopg.Connection
) -> None:
    succession = Succession(tables, seed=11)
    leader(succession.wall, *succession.jobs).step(conn, 5)
    for term in range(100):
        if term % 10 == 9:
            succession.rivals()
        else:
            succession.steps(insert_or_die=term % 3 == 2)
    leader(succession.wall, *succession.jobs).step(conn, 5)
    seconds = (succession.wall.at - START) / SECOND + 0.1
    assert seconds > 1000
    assert made(conn, "interval") == [10.0 * n for n in range(1, int(seconds / 10) + 1)]
    assert made(conn, "cron") == [60.0 * n for n in range(1, int(seconds / 60) + 1)]


def test_a_run_that_was_not_committed_is_made_by_the_next_leader(
    tables: Database, conn: psycopg.Connection
) -> None:
    wall = Wall()
    with tables.connect() as doomed:
        first = leader(wall, durable(EVERY_10_S), insert=die)
        first.step(doomed, 5)
        wall.forward(10)
        with pytest.raises(psycopg.OperationalError):
            first.step(doomed, 5)
    assert (made(conn), next_run(conn)) == ([], 10)
    leader(wall, durable(EVERY_10_S)).step(conn, 5)
    assert (made(conn), next_run(conn)) == ([10], 20)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("run_all", [10, 20, 30, 40, 50, 60, 70, 80, 90]), ("run_once", [30, 40, 50, 60, 70, 80, 90])],
)
def test_runs_missed_while_nobody_led(
    conn: psycopg.Connection, missed: Missed, expected: list[float]
) -> None:
    wall = Wall()
    ticks = durable(EVERY_10_S, missed=missed)
    leader(wall, ticks).step(conn, 5)
    wall.forward(95)
    leader(wall, ticks).step(conn, 5)
    assert made(conn) == expected
    assert next_run(conn) == 100


def test_a_nightly_run_that_was_missed(conn: psycopg.Connection) -> None:
    wall = Wall()
    policies: list[Missed] = ["run_once", "run_all", "skip"]
    jobs = [durable(NIGHTLY, policy, policy) for policy in policies]
    leader(wall, *jobs).step(conn, 5)
    wall.forward(3 * 86400)
    leader(wall, *jobs).step(conn, 5)
    nights = [hours * 3600.0 for hours in (15, 39, 63)]
    assert made(conn, "run_once") == nights[-1:]
    assert made(conn, "run_all") == nights
    assert made(conn, "skip") == []
    wall.forward(15 * 3600 + 30)  # half a minute late, as after a crash
    leader(wall, *jobs).step(conn, 5)
    assert made(conn, "skip") == [87 * 3600]


def test_a_thousand_missed_runs_come_in_several_steps(conn: psycopg.Connection) -> None:
    wall = Wall()
    ticks = durable(EVERY_10_S, missed="run_all")
    leader(wall, ticks).step(conn, 5)
    wall.forward(12_000)
    enqueuer = leader(wall, ticks)
    for count in (1000, 1200):
        due = enqueuer.due
        enqueuer.step(conn, 5)
        assert len(made(conn)) == count
        assert next_run(conn) == 10 * count + 10
        assert (enqueuer.due <= due) is (count == 1000)


def test_a_changed_schedule_is_noticed(conn: psycopg.Connection) -> None:
    wall = Wall()
    leader(wall, durable(NIGHTLY)).step(conn, 5)
    wall.forward(3600)
    leader(wall, durable(EVERY_10_S)).step(conn, 5)
    assert (made(conn), next_run(conn)) == ([], 3610)
    # A run the former schedule owed is made, and the new one goes on from now.
    wall.forward(35)
    changed = leader(wall, durable(CronSchedule("0 4 * * *")))
    changed.step(conn, 5)
    assert (made(conn), next_run(conn)) == ([3610], 16 * 3600)
    changed.step(conn, 5)
    assert made(conn) == [3610]


def test_run_on_start_is_one_run_when_the_job_is_new(conn: psycopg.Connection) -> None:
    wall = Wall()
    ticks = job(EVERY_10_S, id="tick", durable=True, run_on_start=True)
    for _ in range(3):
        leader(wall, ticks).step(conn, 5)
        wall.forward(4)
    assert (made(conn), next_run(conn)) == ([0], 10)


def test_a_run_that_fails_is_tried_again_and_keeps_its_time(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    answers: list[object] = [None] * 3

    def moody() -> object:
        if answers:
            answers.pop()
            raise ZeroDivisionError("a defect")
        return RawArgs("tick", "{}")

    ticks = PeriodicJob(EVERY_10_S, moody, id="tick", durable=True)
    enqueuer = leader(wall, ticks, durable(EVERY_10_S, "steady"))
    enqueuer.step(conn, 5)
    wall.forward(10)
    for pause in (0.5, 0.5, 2, 3.9):
        enqueuer.step(conn, 5)
        wall.forward(pause)
    assert made(conn, "steady") == [10]
    assert (made(conn), next_run(conn), len(answers)) == ([], 10, 0)
    wall.forward(0.1)
    enqueuer.step(conn, 5)
    assert (made(conn), next_run(conn)) == ([10], 20)
    tries = [text.partition(":")[0] for text in errors(caplog.records)]
    assert tries == [f"periodic job tick failed and will try again in {n} s" for n in (1, 2, 4)]


def test_a_row_that_another_leader_has_in_hand_is_left_to_it(
    tables: Database, conn: psycopg.Connection
) -> None:
    wall = Wall()
    enqueuer = leader(wall, durable(EVERY_10_S), durable(EVERY_10_S, "other"))
    enqueuer.step(conn, 5)
    wall.forward(10)
    with tables.connect(autocommit=False) as holder:
        holder.execute("SELECT FROM riverbridge_periodic_job WHERE id = 'tick' FOR UPDATE")
        enqueuer.step(conn, 5)
    assert (made(conn), made(conn, "other")) == ([], [10])
    wall.forward(1)
    enqueuer.step(conn, 5)
    assert made(conn) == [10]


def test_a_next_run_that_was_set_by_hand_is_seen_within_a_minute(conn: psycopg.Connection) -> None:
    wall = Wall()
    enqueuer = leader(wall, durable(NIGHTLY))
    enqueuer.step(conn, 5)
    conn.execute("UPDATE riverbridge_periodic_job SET next_run_at = %s", (wall.at,))
    wall.forward(60)
    enqueuer.step(conn, 5)
    assert (made(conn), next_run(conn)) == ([0], 15 * 3600)


def test_a_run_at_once_comes_beside_those_of_the_schedule(conn: psycopg.Connection) -> None:
    wall = Wall()
    enqueuer = leader(wall, durable(EVERY_10_S), durable(EVERY_10_S, "other"))
    enqueuer.step(conn, 5)
    wall.forward(4)
    by_hand(conn, "ask")
    for _ in range(2):
        wall.forward(1)
        enqueuer.step(conn, 5)
    assert (made(conn), next_run(conn)) == ([5], 10)
    wall.forward(4)
    enqueuer.step(conn, 5)
    assert (made(conn), made(conn, "other")) == ([5, 10], [10])


def test_a_job_that_is_paused_makes_no_runs_and_owes_none(conn: psycopg.Connection) -> None:
    wall = Wall()
    enqueuer = leader(wall, durable(EVERY_10_S, missed="run_all"))
    enqueuer.step(conn, 5)
    by_hand(conn, "pause")
    for _ in range(3):
        wall.forward(10)
        enqueuer.step(conn, 5)
    assert (made(conn), next_run(conn)) == ([], 40)
    by_hand(conn, "ask")  # whoever asks, means it
    enqueuer.step(conn, 5)
    assert made(conn) == [30]
    by_hand(conn, "resume")
    wall.forward(10)
    leader(wall, durable(EVERY_10_S, missed="run_all")).step(conn, 5)
    assert made(conn) == [30, 40]


def test_a_run_at_once_that_cannot_be_made_is_tried_again(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wall, broken = Wall(), [True]

    def constructor() -> RawArgs:
        if broken:
            raise OSError("no disk")
        return RawArgs("tick", "{}")

    enqueuer = leader(wall, PeriodicJob(NIGHTLY, constructor, id="tick", durable=True))
    enqueuer.step(conn, 5)
    by_hand(conn, "ask")
    for _ in range(3):
        enqueuer.step(conn, 5)
    assert len(errors(caplog.records)) == 1  # not at each look
    broken.clear()
    wall.forward(1)
    enqueuer.step(conn, 5)
    assert made(conn) == [1]


def test_of_two_leaders_one_makes_the_run_that_is_asked_for(
    tables: Database, conn: psycopg.Connection
) -> None:
    wall = Wall()
    one, other = leader(wall, durable(NIGHTLY)), leader(wall, durable(NIGHTLY))
    one.step(conn, 5)
    for _ in range(5):
        by_hand(conn, "ask")
        wall.forward(2)
        both = threading.Barrier(2)

        def step(enqueuer: PeriodicEnqueuer, both: threading.Barrier = both) -> None:
            with tables.connect() as own:
                both.wait(10)
                enqueuer.step(own, 5)

        at_once(lambda: step(one), lambda: step(other))
    assert made(conn) == [2, 4, 6, 8, 10]


def test_what_is_asked_for_is_looked_for_every_two_seconds(conn: psycopg.Connection) -> None:
    clock = [0.0]
    jobs = PeriodicJobs([durable(NIGHTLY)])
    enqueuer = PeriodicEnqueuer(jobs, insert, now=Wall(), clock=lambda: clock[0])
    enqueuer.step(conn, 5)
    assert enqueuer.due == LOOK
    jobs.clear()
    enqueuer.step(conn, 5)
    assert enqueuer.due > LOOK  # nothing to look for


def test_by_hand_needs_a_row(conn: psycopg.Connection) -> None:
    for change in ("ask", "pause", "resume"):
        with pytest.raises(PeriodicJobNotFound, match="no periodic job 'tick'"):
            by_hand(conn, change)


def test_jobs_that_nobody_knows_are_forgotten_after_a_month(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    jobs = [durable(NIGHTLY, name) for name in ("known", "gone", "resting")]
    leader(wall, *jobs).step(conn, 5)
    age = "UPDATE riverbridge_periodic_job SET updated_at = now() - %s::interval WHERE id = %s"
    conn.execute(age, ("31 days", "known"))
    conn.execute(age, ("31 days", "gone"))
    conn.execute(age, ("29 days", "resting"))
    with caplog.at_level("INFO"):
        leader(wall, jobs[0]).step(conn, 5)
    rows = conn.execute(
        "SELECT id, updated_at > now() - interval '1 minute' FROM riverbridge_periodic_job"
        " ORDER BY id"
    ).fetchall()
    assert rows == [("known", True), ("resting", False)]
    assert "forgot periodic jobs that are no more: gone" in caplog.text


def test_without_the_table_the_other_jobs_go_on(
    empty_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    Migrator(empty_database.dsn).up()
    wall = Wall()
    with empty_database.connect() as conn:
        plain = leader(wall, job(EVERY_10_S))
        plain.step(conn, 5)
        both = leader(wall, job(EVERY_10_S), durable(EVERY_10_S, "kept"))
        both.step(conn, 5)
        assert "run `riverbridge migrate up`" in caplog.text
        wall.forward(10)
        both.step(conn, 5)
        assert made(conn) == [10]
        Migrator(empty_database.dsn, line="riverbridge").up()
        wall.forward(10)
        both.step(conn, 5)
        wall.forward(10)
        both.step(conn, 5)
        assert (made(conn), made(conn, "kept")) == ([10, 20, 30], [30])


def test_the_last_instant_there_is_can_be_kept(conn: psycopg.Connection) -> None:
    wall = Wall()
    conn.execute("SET TimeZone = 'Pacific/Kiritimati'")  # where that instant is in the next year
    for _ in range(2):
        leader(wall, durable(NeverSchedule())).step(conn, 5)
    assert made(conn) == []
