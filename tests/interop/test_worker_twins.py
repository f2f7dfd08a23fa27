"""The same jobs in two schemas: River's worker runs them in one, ours in the other; equal after.

Both do as the args say, and end what runs in the same way; so rows, and what subscribers are told,
can be compared. Ours runs in the event loop under the row locks, and in threads as leases.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from riverbridge import (
    Client,
    JobCancel,
    JobSnooze,
    PoolOptions,
    QueueConfig,
    RunningJob,
    Worker,
    WorkerPool,
    Workers,
)
from riverbridge.worker.events import Subscription
from tests.interop.conftest import COPY, River
from tests.interop.test_twin_rows import (
    COLUMNS,
    FAILURE,
    INSERT,
    MARK,
    RIVERS,
    ROWS,
    TEXT,
    Times,
    check_settled,
    new_errors,
    within,
)
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.go

LOCKED, LEASED = 8.0, 0.05
"""Seconds for which jobs are held under their row locks: for longer than they take, or hardly."""

BACK_AT_ONCE = ("plain", "marked")
SETTLED_LATER = ("one failure", "last attempt", "marked, one failure", "last attempt, marked")

DOINGS: list[dict[str, Any]] = [
    {"do": "complete"},
    {"do": "complete", "output": TEXT},
    {"do": "fail", "text": TEXT},
    {"do": "fail", "text": "no", "output": "kept"},
    {"do": "fail for", "text": "no", "seconds": 30},
    {"do": "fail for", "text": "no", "seconds": 2},
    {"do": "handled", "text": "no"},
    {"do": "cancel", "text": TEXT},
    {"do": "cancel for nothing"},
    {"do": "cancel deep inside", "text": "no"},
    {"do": "snooze", "seconds": 0},
    {"do": "snooze", "seconds": 3, "output": "kept"},
    {"do": "snooze", "seconds": 30},
    {"do": "snooze deep inside", "seconds": 30},
]
# These are answered before the others are let go, so they must not come back meanwhile.
SOONER: list[dict[str, Any]] = [{"do": "time out"}, {"do": "unknown"}, {"do": "unreadable"}]
JOBS = [
    *itertools.product(DOINGS, (*BACK_AT_ONCE, *SETTLED_LATER)),
    *itertools.product(SOONER, SETTLED_LATER),
]
ENDED: list[dict[str, Any]] = [
    {"do": "end", "wait": True},
    {"do": "end", "wait": True, "output": "kept"},
    {"do": "complete", "wait": True, "output": "kept"},
    {"do": "fail", "wait": True, "text": "no"},
    {"do": "snooze", "wait": True, "seconds": 30},
    {"do": "cancel", "wait": True, "text": "no"},
]
HALTED = list(itertools.product(ENDED, ("plain", "one failure", "last attempt")))


class Doer(Worker[dict[str, Any]]):
    """Does as twinWorker in work.go. Those that do not time out wait until they are let go."""

    kind = "twin"

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.let_go = threading.Event()

    def timeout(self, job: RunningJob[dict[str, Any]]) -> float | None:
        return 0.05 if job.args["do"] == "time out" else 0

    def next_retry(self, job: RunningJob[dict[str, Any]]) -> float | None:
        return float(job.args["seconds"]) if job.args["do"] == "fail for" else None

    def begin(self, job: RunningJob[dict[str, Any]]) -> None:
        if "output" in job.args:
            job.record_output(job.args["output"])
        self.begun.append(job.id)

    def over(self, job: RunningJob[dict[str, Any]]) -> bool:
        return self.let_go.is_set() and job.args["do"] != "time out"

    def act(self, job: RunningJob[dict[str, Any]]) -> None:
        text = job.args.get("text", "")
        match job.args["do"]:
            case "complete":
                return
            case "fail" | "fail for" | "handled":
                raise ValueError(text)
            case "cancel":
                raise JobCancel(text)
            case "cancel for nothing":
                raise JobCancel
            case "cancel deep inside":
                raise ValueError("outside") from JobCancel(text)
            case "snooze":
                raise JobSnooze(job.args["seconds"])
            case "snooze deep inside":
                raise ValueError("outside") from JobSnooze(job.args["seconds"])
        job.raise_if_cancelled()


class InThreads(Doer):
    def work(self, job: RunningJob[dict[str, Any]]) -> None:
        self.begin(job)
        while not (job.cancelled.wait(0.01) or self.over(job)):
            pass
        self.act(job)


class InTheLoop(Doer):
    async def work(self, job: RunningJob[dict[str, Any]]) -> None:
        self.begin(job)
        try:
            while not self.over(job):
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            if job.args["do"] in ("end", "time out"):
                raise
        self.act(job)


def handled(job: RunningJob[Any], error: BaseException) -> bool:
    return '"handled"' in job.encoded_args


class Side(NamedTuple):
    """What one side did. told: of each job, the kind of its event and the state in it."""

    client: str
    times: Times
    told: dict[int, list[str]]


class Pair:
    """One database with the tables in schema `ours` and in `rivers`, and the same jobs in both."""

    def __init__(self, database: Database, conn: psycopg.Connection[Any], theirs: River) -> None:
        self.database = database
        self.dsn = database.dsn
        self.conn = conn
        self.theirs = theirs
        self.jobs: dict[int, tuple[dict[str, Any], str]] = {}

    def fill(self, jobs: Collection[tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
        """Insert these into both; the rows."""
        self.jobs = dict(enumerate(jobs, 1))
        for args, name in jobs:
            row = ROWS[name]
            errors = [Jsonb(FAILURE)] * row.get("failures", 0)
            values: dict[str, Any] = {
                "attempt": 0, "max_attempts": 25, "attempted_by": None, "metadata": Jsonb({}),
                "priority": 1, "tags": [], "key": None, "states": None, "age": timedelta(seconds=1),
            }  # fmt: skip
            values |= row | {"args": Jsonb(args), "errors": errors or None}
            values["metadata"] = Jsonb(row.get("metadata", {}))
            self.conn.execute(INSERT, values)
        for do, then in (("unknown", "kind = 'stranger'"), ("unreadable", "args = '[1]'")):
            update = f"UPDATE ours.river_job SET {then} WHERE args ->> 'do' = '{do}'"
            self.conn.execute(update.encode())
        self.conn.execute(COPY)
        before = self.rows("ours")
        assert before == self.rows("rivers")
        return before

    def rows(self, schema: str) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM {schema}.river_job ORDER BY id".encode())
            return cursor.fetchall()

    def now(self) -> datetime:
        row = self.conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment

    def running(self) -> int:
        row = self.conn.execute(
            "SELECT count(*) FROM ours.river_job WHERE state = 'running'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def river_works(self, *halt: str) -> Side:
        """River's worker works all jobs, and ends them while they run where it is told to."""
        before = self.now()
        given = self.theirs("halt" if halt else "work", RIVERS, "outbox", len(self.jobs), *halt)
        span = (before, self.now())
        return Side(RIVERS, Times(span, span), {int(id_): told for id_, told in given.items()})

    @contextmanager
    def ours(self, doer: Doer, hold: float) -> Iterator[tuple[WorkerPool, Subscription]]:
        """A pool that has begun all jobs, as many as there are functions for, and takes no more;
        and what it tells of them."""
        workers = Workers()
        workers.add(doer)
        options = PoolOptions(
            schema="ours", hold=hold, lanes=1, elections=False, unknown="fail",
        )  # fmt: skip
        queues = {"outbox": QueueConfig(len(self.jobs))}
        pool = WorkerPool(self.dsn, workers, queues, options, error_handler=handled)
        kinds = ("completed", "cancelled", "failed", "interrupted", "snoozed")
        events = pool.events.subscribe([f"job_{kind}" for kind in kinds])
        pool.start()
        try:
            called = [args["do"] not in ("unknown", "unreadable") for args, _ in self.jobs.values()]
            eventually(lambda: len(doer.begun) == sum(called))
            heard = (
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%leadership%'"
                " AND datname = current_database()"
            )
            eventually(lambda: self.conn.execute(heard).fetchone() == (1,))
            pool.remove_queue("outbox")
            yield pool, events
        finally:
            doer.let_go.set()
            assert pool.stop(timeout=20)

    def our_work(self, doer: Doer, hold: float, act: Callable[[WorkerPool, Doer], None]) -> Side:
        """Ours works all jobs; once all of them run, `act` lets them go, or ends them."""
        before = self.now()
        with self.ours(doer, hold) as (pool, events):
            sooner = [each["do"] for each in SOONER]
            left = sum(args["do"] not in sooner for args, _ in self.jobs.values())
            eventually(lambda: self.running() == (0 if hold == LOCKED else left))
            act(pool, doer)
        span = (before, self.now())
        told = {
            event.job.id: [event.kind.value, event.state.value]
            for event in events
            if event.job is not None and event.state is not None
        }
        return Side(pool.client_id, Times(span, span), told)


@pytest.fixture
def pair(
    river_in: Callable[[Database, str], River],
    twin_database: Database,
    twin_tables: psycopg.Connection[Any],
) -> Pair:
    return Pair(twin_database, twin_tables, river_in(twin_database, "rivers"))


def without_mark(row: dict[str, Any], times: Times) -> Any:
    """The metadata, where a mark that was made meanwhile is only named as such."""
    metadata = json.loads(row["metadata"])
    mark = metadata.get("cancel_attempted_at")
    if mark not in (None, MARK["cancel_attempted_at"]):
        assert within(datetime.fromisoformat(mark), times.settled)
        metadata["cancel_attempted_at"] = "meanwhile"
    return metadata


def check_wait(
    before: dict[str, Any], row: dict[str, Any], args: dict[str, Any], times: Times
) -> None:
    """A new scheduled_at lies as far ahead as the worker, the snooze or River's policy says."""
    low = high = args.get("seconds", 0.0)
    if len(row["errors"] or []) > len(before["errors"] or []) and args["do"] != "fail for":
        base = (len(before["errors"] or []) + 1) ** 4
        low, high = base * 0.9, base * 1.1
    earliest = times.settled[0] + timedelta(seconds=low)
    latest = times.settled[1] + timedelta(seconds=high)
    assert within(row["scheduled_at"], (earliest, latest)), "scheduled_at"


def check_errors(
    before: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], args: dict[str, Any]
) -> None:
    """Equal, but for stacks, which Go's errors have none of, and the two languages' own words."""
    for our, their in zip(new_errors(before, ours), new_errors(before, theirs), strict=True):
        assert our["attempt"] == their["attempt"]
        assert their["trace"] == ""
        assert our["trace"] == "" or our["trace"].startswith("Traceback ")
        match args["do"]:
            case "unreadable":
                assert our["error"].startswith("args do not fit dict")
            case "cancel deep inside":
                assert their["error"] == f"outside: {our['error']}"
            case _:
                assert our["error"] == their["error"]


def check_twins(
    args: dict[str, Any], was: dict[str, Any], rows: tuple[dict[str, Any], dict[str, Any]],
    sides: tuple[Side, Side],
) -> None:  # fmt: skip
    """rows, sides: ours, and River's."""
    our, their = rows
    for row, side in zip(rows, sides, strict=True):
        check_settled(was, row, side.client, side.times)
    for column in ("state", "attempt"):
        assert our[column] == their[column], column
    assert (our["finalized_at"] is None) == (their["finalized_at"] is None)
    assert without_mark(our, sides[0].times) == without_mark(their, sides[1].times)
    check_errors(was, our, their, args)
    moved = their["scheduled_at"] != was["scheduled_at"]
    assert (our["scheduled_at"] != was["scheduled_at"]) == moved
    if moved:
        for row, side in zip(rows, sides, strict=True):
            check_wait(was, row, args, side.times)
    told, theirs = (side.told[was["id"]] for side in sides)
    if theirs == ["job_snoozed", "cancelled"]:
        theirs = ["job_cancelled", "cancelled"]  # as River says it from 0.44 on
    assert told == theirs, "the event"
    assert told[1] == our["state"], "the event's state"


def check_all(pair: Pair, before: list[dict[str, Any]], ours: Side, theirs: Side) -> None:
    for was, our, their in zip(before, pair.rows("ours"), pair.rows("rivers"), strict=True):
        if was["id"] not in pair.jobs:
            continue
        args, name = pair.jobs[was["id"]]
        try:
            check_twins(args, was, (our, their), (ours, theirs))
        except AssertionError as error:
            raise AssertionError(f"{name}, {args}: {error}\n{our}\nRiver's {their}") from error


@pytest.mark.transition("T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T24")
@pytest.mark.parametrize(("doer", "hold"), [(InTheLoop, LOCKED), (InThreads, LEASED)])
def test_what_a_function_does_leaves_what_it_leaves_with_rivers_worker(
    pair: Pair, doer: type[Doer], hold: float
) -> None:
    before = pair.fill(JOBS)
    theirs = pair.river_works()
    ours = pair.our_work(doer(), hold, lambda pool, doer: doer.let_go.set())
    check_all(pair, before, ours, theirs)
    left = {
        name: {row["state"] for row in pair.rows("ours") if pair.jobs[row["id"]][1] == name}
        for _, name in pair.jobs.values()
    }
    assert left["one failure"] > {"retryable", "scheduled", "available"}
    # Marked, such a job is cancelled (T24), and if it is soon due it is available all the same.
    assert left["marked, one failure"] == {"available", "cancelled", "completed"}
    assert left["last attempt"] > {"discarded"}


@pytest.mark.transition("T9", "T19")
@pytest.mark.parametrize("doer", [InTheLoop, InThreads])
def test_a_job_that_is_cancelled_while_it_runs_ends_as_with_rivers_worker(
    pair: Pair, river_in: Callable[[Database, str], River], doer: type[Doer]
) -> None:
    """By our client or by River's. Whatever error it returns then, it is cancelled; what succeeds
    all the same is completed."""
    before = pair.fill(HALTED)
    theirs = pair.river_works("cancel")
    river = river_in(pair.database, "ours")

    def cancel(pool: WorkerPool, doer: Doer) -> None:
        ids = sorted(doer.begun)
        with Client(pair.dsn, schema="ours") as client:
            assert {client.job_cancel(id_).state.value for id_ in ids[::2]} == {"running"}
        operations = [{"do": "job_cancel", "id": id_} for id_ in ids[1::2]]
        results = river("administer", json.dumps({"operations": operations}))["results"]
        assert [result["jobs"] for result in results] == [[[id_, "running"]] for id_ in ids[1::2]]
        eventually(lambda: pair.running() == 0)

    ours = pair.our_work(doer(), LEASED, cancel)
    check_all(pair, before, ours, theirs)
    assert {row["state"] for row in pair.rows("ours")} == {"cancelled", "completed"}


@pytest.mark.transition("T12", "T24")
@pytest.mark.parametrize(("doer", "hold"), [(InTheLoop, LOCKED), (InThreads, LEASED)])
def test_a_job_that_a_stop_ends_is_given_back_as_with_rivers_worker(
    next_river_program: Path, pair: Pair, doer: type[Doer], hold: float
) -> None:
    """With its attempt. One that does something else when it is to end has the outcome of that."""
    pair.theirs = River(next_river_program, pair.database, "rivers")
    marked = ({"do": "end", "wait": True}, "marked")
    before = pair.fill([*HALTED, marked])
    theirs = pair.river_works("stop")
    ours = pair.our_work(doer(), hold, lambda pool, _: check_stop(pool))
    *rows, marked_row = pair.rows("ours")
    # From 0.44 on River cancels it; here the mark does not count for what is available at once.
    assert (marked_row["state"], pair.rows("rivers")[-1]["state"]) == ("available", "cancelled")
    assert marked_row["attempt"] == 0
    del pair.jobs[marked_row["id"]]
    check_all(pair, before, ours, theirs)
    given_back = [row for row in rows if pair.jobs[row["id"]][0]["do"] == "end"]
    assert {row["state"] for row in given_back} == {"available"}


def check_stop(pool: WorkerPool) -> None:
    assert pool.stop_and_cancel(timeout=20)
