"""The leader's thread against a real server: what it survives and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from riverbridge.store import leader as seats
from riverbridge.upkeep.cleaner import Cleaner
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.leader import Leader
from riverbridge.upkeep.scheduler import Scheduler
from tests.support.database import Database, GivenPostgres
from tests.support.running import running
from tests.support.wait import eventually
from tests.upkeep.clock import Clock

JOB = """
INSERT INTO river_job (state, kind, args, scheduled_at, finalized_at)
VALUES (%(state)s::river_job_state, 'k', '{}', now() + %(due)s::interval, now() - %(age)s::interval)
RETURNING id
"""
APPLICATION = "leader-under-test"


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def make(
    database: Database, *duties: Duty, client_id: str = "us", clock: Clock | None = None
) -> Leader:
    return Leader(
        lambda: database.connect(application_name=APPLICATION),
        client_id=client_id,
        duties=duties,
        clock=clock or Clock(),
    )


def insert(
    conn: psycopg.Connection,
    state: str = "scheduled",
    due: float = 0,
    age: float | None = None,
) -> int:
    values = {
        "state": state,
        "due": timedelta(seconds=due),
        "age": None if age is None else timedelta(seconds=age),
    }
    row = conn.execute(JOB, values).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def states(conn: psycopg.Connection) -> dict[int, str]:
    return dict(conn.execute("SELECT id, state::text FROM river_job").fetchall())


def held(conn: psycopg.Connection) -> seats.Seat:
    """The seat, once somebody has it."""
    seat = eventually(lambda: seats.get(conn))
    assert seat is not None
    return seat


def backend(conn: psycopg.Connection) -> int:
    row = conn.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (APPLICATION,)
    ).fetchone()
    assert row is not None
    pid: int = row[0]
    return pid


class Broken(Duty):
    """Fails in every way a duty can, in turn."""

    name = "broken"

    def __init__(self, clock: Clock) -> None:
        super().__init__(0.05, clock)
        self.calls = 0

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        self.calls += 1
        if self.calls % 3 == 0:
            conn.execute("SELECT no_such_column")
        if self.calls % 3 == 1:
            conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise ZeroDivisionError("a defect")


def test_leads_schedules_and_cleans(database: Database, conn: psycopg.Connection) -> None:
    due, soon, later = insert(conn), insert(conn, "retryable", 4), insert(conn, due=3600)
    old, young = insert(conn, "completed", age=90000), insert(conn, "completed", age=80000)
    kept = insert(conn, "discarded", age=90000)
    scheduler, cleaner = Scheduler(), Cleaner()
    with running(make(database, scheduler, cleaner)):
        eventually(lambda: scheduler.scheduled == 2 and cleaner.deleted == 1, within=5)
    assert old not in states(conn)
    assert states(conn) == {
        due: "available",
        soon: "available",
        later: "scheduled",
        young: "completed",
        kept: "discarded",
    }


def test_a_follower_does_nothing(database: Database, conn: psycopg.Connection) -> None:
    seats.elect(conn, leader_id="other", ttl=timedelta(seconds=60))
    job = insert(conn)
    clock = Clock()
    leader = make(database, Scheduler(), Cleaner(), clock=clock)
    with running(leader):
        for _ in range(3):
            before = leader.progress
            clock.ahead += 6
            eventually(lambda before=before: leader.progress > before)  # type: ignore[misc]
        assert not leader.is_leader
    assert states(conn) == {job: "scheduled"}
    assert held(conn).leader_id == "other"


def test_stop_resigns_and_says_so(database: Database, conn: psycopg.Connection) -> None:
    conn.execute('LISTEN "public.river_leadership"')
    leader = make(database)
    with running(leader):
        eventually(lambda: leader.is_leader)
    assert seats.get(conn) is None
    assert not leader.is_leader
    payloads = [json.loads(n.payload) for n in conn.notifies(timeout=2, stop_after=1)]
    assert payloads == [{"leader_id": "us", "action": "resigned"}]


def test_stop_while_the_server_is_away_ends(database: Database) -> None:
    def connect() -> psycopg.Connection:
        raise psycopg.OperationalError("nobody there")

    leader = Leader(connect, client_id="us", duties=())
    with running(leader, within=2):
        eventually(lambda: "nobody there" in leader.failing.get("connection", ""))


def test_asked_to_resign_it_resigns(database: Database, conn: psycopg.Connection) -> None:
    leader = make(database)
    with running(leader):
        first = held(conn)
        for noise in ("", "{", "[1]", "null", '{"action": 7}', "[" * 100_000, '{"action":"x"}'):
            leader.notify(noise)
        leader.notify('{"action":"request_resign","leader_id":""}')
        eventually(lambda: held(conn).elected_at > first.elected_at, within=3)
        assert held(conn).leader_id == "us"
        eventually(lambda: leader.is_leader)


def test_a_resignation_is_answered_at_once(database: Database, conn: psycopg.Connection) -> None:
    seat = seats.elect(conn, leader_id="other", ttl=timedelta(seconds=60))
    assert seat is not None
    leader = make(database)
    with running(leader):
        before = leader.progress
        eventually(lambda: leader.progress > before)
        seats.resign(conn, leader_id="other", elected_at=seat.elected_at)
        leader.notify('{"leader_id" : "other", "action" : "resigned"}')
        eventually(lambda: leader.is_leader, within=1)


def test_a_new_term_after_a_crash_emptied_the_table(
    database: Database, conn: psycopg.Connection
) -> None:
    clock = Clock()
    leader = make(database, clock=clock)
    with running(leader):
        first = held(conn)
        conn.execute("TRUNCATE river_leader")
        clock.ahead += 5
        second = held(conn)
        assert second.elected_at > first.elected_at
        eventually(lambda: leader.is_leader)


def test_a_term_taken_over_is_not_resigned(database: Database, conn: psycopg.Connection) -> None:
    clock = Clock()
    leader = make(database, clock=clock)
    with running(leader):
        eventually(lambda: leader.is_leader)
        conn.execute("UPDATE river_leader SET leader_id = 'other', elected_at = now()")
        clock.ahead += 5
        eventually(lambda: not leader.is_leader)
    assert held(conn).leader_id == "other"


def test_trust_runs_out_while_the_session_is_frozen(
    database: Database, conn: psycopg.Connection
) -> None:
    if isinstance(database.server, GivenPostgres):
        pytest.skip("the server's processes cannot be signalled")
    clock = Clock()
    leader = make(database, clock=clock)
    with running(leader):
        eventually(lambda: leader.is_leader)
        term = leader.elector.term
        frozen = backend(conn)
        os.kill(frozen, signal.SIGSTOP)
        try:
            clock.ahead += 13  # a second of trust is left; the renewal now due gets no answer
            assert term is not None
            eventually(lambda: not term.alive(), within=3)
            assert not leader.is_leader
            # The silent connection is given up, and on another one the term is resigned.
            eventually(lambda: leader.elector.term is not term, within=10)
            eventually(lambda: leader.is_leader, within=10)
        finally:
            os.kill(frozen, signal.SIGCONT)


def test_a_lost_connection_does_not_end_the_term(
    database: Database, conn: psycopg.Connection
) -> None:
    clock = Clock()
    leader = make(database, clock=clock)
    with running(leader):
        eventually(lambda: leader.is_leader)
        term = leader.elector.term
        conn.execute("SELECT pg_terminate_backend(%s)", (backend(conn),))
        before = leader.progress
        clock.ahead += 5
        eventually(lambda: leader.progress > before)
        eventually(lambda: "elector" not in leader.failing)
        assert leader.elector.term is term
        assert leader.is_leader


def test_a_failing_duty_stops_nothing_else(database: Database, conn: psycopg.Connection) -> None:
    clock = Clock()
    broken, scheduler = Broken(clock), Scheduler(clock=clock)
    leader = make(database, broken, scheduler, clock=clock)
    with running(leader):
        eventually(lambda: broken.calls >= 6)
        first = held(conn)
        job = insert(conn)
        clock.ahead += 6
        eventually(lambda: states(conn)[job] == "available", within=5)
        eventually(lambda: leader.failing.get("broken"))
        now = held(conn)
        assert now.elected_at == first.elected_at
        assert now.expires_at > first.expires_at
        assert leader.is_leader


def test_two_leaders_at_once_do_no_harm(database: Database, conn: psycopg.Connection) -> None:
    conn.execute(
        "INSERT INTO river_job (state, kind, args) SELECT 'scheduled', 'k', '{}'"
        " FROM generate_series(1, 2000)"
    )
    one, two = Scheduler(), Scheduler()
    with running(make(database, one, client_id="one")):
        held(conn)
        conn.execute("TRUNCATE river_leader")  # as a crash would; the first still trusts its term
        with running(make(database, two, client_id="two")):
            eventually(lambda: set(states(conn).values()) == {"available"})
            eventually(lambda: one.scheduled + two.scheduled == 2000)
    assert one.conflicts + two.conflicts == 0


def test_a_client_id_river_would_refuse() -> None:
    with pytest.raises(ValueError, match="1 to 127"):
        Leader(lambda: psycopg.connect(""), client_id="x" * 128, duties=())


class Counting(Duty):
    """Finds nothing to do."""

    name = "counting"

    def __init__(self, clock: Clock) -> None:
        super().__init__(30, clock)
        self.calls = 0
        self.terms: list[str] = []

    def begin(self) -> None:
        super().begin()
        self.terms.append("begun")

    def end(self) -> None:
        self.terms.append("ended")

    def work(self, conn: psycopg.Connection, size: int, limit: float) -> int:
        self.calls += 1
        return 0


def test_a_duty_keeps_to_its_interval(database: Database, conn: psycopg.Connection) -> None:
    clock = Clock()
    counting = Counting(clock)
    with running(make(database, counting, clock=clock)):
        eventually(lambda: counting.calls == 1)
        for _ in range(5):
            before = held(conn).expires_at
            clock.ahead += 5
            eventually(lambda before=before: held(conn).expires_at > before)  # type: ignore[misc]
        assert counting.calls == 1
        clock.ahead += 5
        eventually(lambda: counting.calls == 2)


def test_a_duty_hears_of_the_beginning_and_the_end_of_each_term(
    database: Database, conn: psycopg.Connection
) -> None:
    clock = Clock()
    counting = Counting(clock)
    leader = make(database, counting, clock=clock)
    with running(leader):
        eventually(lambda: counting.terms == ["begun"])
        conn.execute("UPDATE river_leader SET leader_id = 'other', elected_at = now()")
        clock.ahead += 5
        eventually(lambda: counting.terms == ["begun", "ended"])
        conn.execute("TRUNCATE river_leader")
        clock.ahead += 6
        eventually(lambda: counting.terms == ["begun", "ended", "begun"])
    assert counting.terms == ["begun", "ended", "begun", "ended"]
