"""The same rows in two schemas: River's own client works one, our lane the other; equal after.

River's side is a real client whose workers return, fail, cancel and snooze as the args say. Ours is
a real lane, in the three ways in which it can hold a job: under the row lock, as a lease from the
start, and as a lease because the answer came late.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.lane import Lane, Limits
from riverbridge.engine.pace import Pace
from riverbridge.engine.settling import Aside
from riverbridge.engine.waking import Waker
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.model.retry import RiverRetry
from riverbridge.store.database import connector
from riverbridge.store.jobs import JobTable
from riverbridge.store.migrate import Migrator
from tests.interop.conftest import COPY, River
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.go

Mode = Literal["locked", "leased", "late"]
MODES: tuple[Mode, ...] = ("locked", "leased", "late")

OURS, RIVERS = "riverbridge_twin", "river_twin"
TEXT = 'refused: "naïve" <b>&\n\ttab — 漢字 \u2028 \\ end'
DEFAULT_STATES = "11110101"
WITHOUT_COMPLETED = "10110001"
MARK = {"cancel_attempted_at": "2026-01-02T03:04:05.678901Z"}
FAILURE = {"at": "2026-01-02T03:04:05.123456789Z", "attempt": 1, "error": "old", "trace": "f\n\tg"}

KEPT = (
    "id", "args", "kind", "queue", "created_at", "tags", "unique_key", "unique_states", "priority",
    "max_attempts",
)  # fmt: skip
COLUMNS = (
    "id, state::text, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,"
    " priority, args::text, attempted_by, to_json(errors) AS errors, kind,"
    " metadata::text, queue, tags, unique_key, unique_states::text"
)
INSERT = """
INSERT INTO ours.river_job (kind, queue, args, attempt, max_attempts, attempted_by, attempted_at,
    errors, metadata, priority, tags, unique_key, unique_states, scheduled_at, created_at)
VALUES ('twin', 'outbox', %(args)s, %(attempt)s, %(max_attempts)s, %(attempted_by)s,
    '2026-01-02Z', %(errors)s, %(metadata)s, %(priority)s, %(tags)s, %(key)s,
    %(states)s::text::bit(8), now() - %(age)s, now() - interval '1 day')
"""

ROWS: dict[str, dict[str, Any]] = {
    **{f"jitter {number}": {"failures": 2} for number in range(12)},
    "plain": {},
    "last attempt": {"attempt": 24},
    "last attempt, marked": {"attempt": 24, "metadata": MARK},
    "only attempt": {"max_attempts": 1},
    "past the last attempt": {"attempt": 30},
    "one failure": {"attempt": 1, "failures": 1},
    "two failures": {"attempt": 2, "failures": 2},
    "seven failures of three attempts": {"attempt": 3, "failures": 7},
    "attempts without failures": {"attempt": 5},
    "marked": {"metadata": MARK},
    "marked, one failure": {"attempt": 1, "failures": 1, "metadata": MARK | {"a": 1}},
    "marked with null": {"failures": 1, "metadata": {"cancel_attempted_at": None}},
    "empty owners": {"attempted_by": []},
    "99 owners": {"attempted_by": [f"client {n}" for n in range(99)]},
    "100 owners": {"attempted_by": [f"client {n}" for n in range(100)]},
    "101 owners": {"attempted_by": [f"client {n}" for n in range(101)]},
    "other metadata": {"metadata": {"a": {"b": [1, 2.5, None]}, "ü": "\u2028", "river:log": []}},
    "snoozed before": {"metadata": {"snoozes": 4}},
    "snoozes as text": {"metadata": {"snoozes": "7"}},
    "snoozes as words": {"metadata": {"snoozes": "many"}},
    "snoozes as fraction": {"metadata": {"snoozes": 2.5}},
    "snoozes as odd text": {"metadata": {"snoozes": " +1_0"}},
    "snoozes as text below zero": {"metadata": {"snoozes": "-5"}},
    "snoozes as long text": {"metadata": {"snoozes": "9" * 15}},
    "snoozes as text with fraction": {"metadata": {"snoozes": "3.7"}},
    "snoozes as large number": {"metadata": {"snoozes": 10**15}},
    "snoozes past 53 bits": {"metadata": {"snoozes": 2**60}},
    "snoozes as a fraction below zero": {"metadata": {"snoozes": -2.5}},
    "snoozes empty": {"metadata": {"snoozes": ""}},
    "snoozes null": {"metadata": {"snoozes": None}},
    "snoozes true": {"metadata": {"snoozes": True}},
    "snoozes below zero": {"metadata": {"snoozes": -3}},
    "snoozes nested": {"metadata": {"snoozes": {"a": 1}}},
    "unique": {"key": b"\x00\xff1", "states": DEFAULT_STATES},
    "unique until completed": {"key": b"2", "states": WITHOUT_COMPLETED},
    "key without states": {"key": b"3"},
    "last priority": {"priority": 4, "tags": ["a", "b c"], "age": timedelta(days=400)},
}


class Twin(msgspec.Struct, frozen=True):
    """What a job's args say is to become of it."""

    do: Literal["complete", "fail", "cancel", "snooze", "refuse", "release"]
    text: str = ""
    seconds: float = 0.0

    def outcome(self) -> Outcome:
        """The taker's answer; where River adds to a text, so must who answers."""
        match self.do:
            case "complete":
                return Delivered()
            case "fail":
                return Retry(self.text)
            case "cancel":
                return Cancelled(f"JobCancelError: {self.text}")
            case "snooze":
                return Snoozed(self.seconds)
            case "refuse":
                return Permanent(self.text)
            case "release":
                return Unreachable(self.text)


class Script:
    """A taker that takes `count` jobs, once, and answers when it is let go."""

    def __init__(self, count: int, *, at_once: bool) -> None:
        self._left = count
        self._at_once = at_once
        self._held: list[Batch] = []

    def room(self) -> int:
        return self._left

    def take(self, batch: Batch) -> None:
        self._left -= len(batch.jobs)
        self._held.append(batch)
        if self._at_once:
            self.let_go()

    def let_go(self) -> None:
        for batch in self._held:
            batch.answer([_told(job).outcome() for job in batch.jobs])
        self._held.clear()


def _told(job: ClaimedJob) -> Twin:
    return msgspec.json.decode(job.args, type=Twin)


@dataclass(frozen=True)
class Times:
    """Between which instants of the database's clock the rows were claimed, and settled."""

    claimed: tuple[datetime, datetime]
    settled: tuple[datetime, datetime]


class Twins:
    """One database, the tables in schema `ours` and in schema `rivers`."""

    def __init__(
        self, database: Database, conn: psycopg.Connection[tuple[Any, ...]], theirs: River
    ) -> None:
        self._database = database
        self._conn = conn
        self._theirs = theirs
        self.names: dict[int, str] = {}

    def fill(self, twin: Twin) -> int:
        """Put every row of ROWS into both schemas; how many there are."""
        for number, (name, row) in enumerate(ROWS.items(), 1):
            failures = [Jsonb(FAILURE | {"attempt": n + 1}) for n in range(row.get("failures", 0))]
            values = {
                "args": Jsonb(msgspec.to_builtins(twin) | {"number": 10**20}),
                "attempt": row.get("attempt", 0),
                "max_attempts": row.get("max_attempts", 25),
                "attempted_by": row.get("attempted_by"),
                "errors": failures or None,
                "metadata": Jsonb(row.get("metadata", {})),
                "priority": row.get("priority", 1),
                "tags": row.get("tags", []),
                "key": row.get("key"),
                "states": row.get("states"),
                "age": row.get("age", timedelta(seconds=1)),
            }
            self._conn.execute(INSERT, values)
            self.names[number] = name
        self._conn.execute(COPY)
        return len(ROWS)

    def rows(self, schema: str) -> list[dict[str, Any]]:
        with self._conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM {schema}.river_job ORDER BY id".encode())
            return cursor.fetchall()

    def now(self) -> datetime:
        row = self._conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment

    def river_works(self, count: int) -> Times:
        """River's client works `count` jobs; Go's clock is taken for the database's."""
        before = self.now()
        self._theirs("work", RIVERS, "outbox", count)
        span = (before, self.now())
        return Times(span, span)

    def river_discards(self) -> Times:
        before = self.now()
        self._theirs("discard", RIVERS, "outbox", TEXT)
        span = (before, self.now())
        return Times(span, span)

    def ours_work(self, count: int, mode: Mode, *, delete: bool = False) -> Times:
        """A lane works `count` jobs, then ends."""
        taker = Script(count, at_once=mode != "late")
        feed = Feed(
            "route", "outbox", taker, RiverRetry(), delete_delivered=delete,
            claiming="lease" if mode == "leased" else "lock",
        )  # fmt: skip
        hold = 0.1 if mode == "late" else 4.0
        waker = Waker([feed])
        pace = Pace(claiming=feed.claiming, batch_size=1000, batch_bytes=8 << 20, hold=hold)
        lane = Lane(
            connect=connector(self._database.dsn), table=JobTable("ours", OURS), waker=waker,
            paces={feed: pace}, aside=Aside(), limits=Limits(hold=hold), byte_budget=8 << 20,
        )  # fmt: skip
        stop = threading.Event()
        thread = threading.Thread(target=lane.run, args=(stop,))
        before = self.now()
        thread.start()
        try:
            if mode == "late":
                eventually(lambda: self._count("state = 'running'") == count)
                claimed = (before, self.now())
                taker.let_go()
            # Not `running`: those are leases that the drain settles.
            eventually(lambda: taker.room() == 0)
        finally:
            stop.set()
            waker.stop()
            thread.join(20)
        assert not thread.is_alive()
        after = self.now()
        if mode == "late":
            return Times(claimed, (claimed[1], after))
        return Times((before, after), (before, after))

    def _count(self, where: str) -> int:
        row = self._conn.execute(
            f"SELECT count(*) FROM ours.river_job WHERE {where}".encode()
        ).fetchone()
        assert row is not None
        count: int = row[0]
        return count


@pytest.fixture
def twins(
    river_program: Path,
    river_in: Callable[[Database, str], River],
    empty_database: Database,
) -> Iterator[Twins]:
    with empty_database.connect() as conn:
        for schema in ("ours", "rivers"):
            conn.execute(f"CREATE SCHEMA {schema}".encode())
            Migrator(empty_database.dsn, schema=schema, line="main").up()
        conn.execute("SET timezone TO 'UTC'")
        yield Twins(empty_database, conn, river_in(empty_database, "rivers"))


def within(moment: datetime | None, span: tuple[datetime, datetime]) -> bool:
    slack = timedelta(milliseconds=2)  # Go's clock and Postgres' are read apart
    return moment is not None and span[0] - slack <= moment <= span[1] + slack


def new_errors(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """What was appended; what was there must be there still."""
    old, new = before["errors"] or [], after["errors"] or []
    assert new[: len(old)] == old
    return list(new[len(old) :])


def check_settled(before: dict[str, Any], row: dict[str, Any], client: str, times: Times) -> None:
    """What holds for each side by itself."""
    for column in KEPT:
        assert row[column] == before[column], column
    assert within(row["attempted_at"], times.claimed)
    assert row["attempted_by"][-1] == client
    assert len(row["attempted_by"]) <= 100
    if row["finalized_at"] is not None:
        assert within(row["finalized_at"], times.settled)
    for error in new_errors(before, row):
        assert set(error) == {"at", "attempt", "error", "trace"}
        assert within(datetime.fromisoformat(error["at"]), times.claimed)


def check_wait(before: dict[str, Any], row: dict[str, Any], twin: Twin, times: Times) -> None:
    """A new scheduled_at lies as far ahead as River's policy, or the snooze, says."""
    low = high = twin.seconds
    if twin.do == "fail":
        base = (len(before["errors"] or []) + 1) ** 4
        low, high = base * 0.9, base * 1.1
    earliest = times.settled[0] + timedelta(seconds=low)
    latest = times.settled[1] + timedelta(seconds=high)
    assert within(row["scheduled_at"], (earliest, latest))


def check_twins(
    before: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], twin: Twin,
    our_times: Times, their_times: Times,
) -> None:  # fmt: skip
    check_settled(before, ours, OURS, our_times)
    check_settled(before, theirs, RIVERS, their_times)
    for column in ("state", "attempt", "metadata"):
        assert ours[column] == theirs[column], column
    assert ours["attempted_by"][:-1] == theirs["attempted_by"][:-1]
    assert (ours["finalized_at"] is None) == (theirs["finalized_at"] is None)
    without_at = [
        [{key: error[key] for key in ("attempt", "error", "trace")} for error in new]
        for new in (new_errors(before, ours), new_errors(before, theirs))
    ]
    assert without_at[0] == without_at[1]
    moved = theirs["scheduled_at"] != before["scheduled_at"]
    assert (ours["scheduled_at"] != before["scheduled_at"]) == moved
    if moved:
        check_wait(before, ours, twin, our_times)
        check_wait(before, theirs, twin, their_times)


def check_all(
    twins: Twins, before: list[dict[str, Any]], twin: Twin, our_times: Times, their_times: Times
) -> None:
    problems = []
    ours, theirs = twins.rows("ours"), twins.rows("rivers")
    for was, our, their in zip(before, ours, theirs, strict=True):
        try:
            check_twins(was, our, their, twin, our_times, their_times)
        except AssertionError as error:
            problems.append(f"{twins.names[was['id']]}: {error}\nours   {our}\nRiver's {their}")
    assert not problems, "\n\n".join(problems)


def check_go_reads(twins: Twins, reader: River) -> None:
    """Go decodes every row of ours, and each error's `at` as the instant that we meant."""
    read = {job["id"]: job for job in reader("read")}
    rows = twins.rows("ours")
    assert len(read) == len(rows)
    for row in rows:
        job = read[row["id"]]
        assert (job["state"], job["attempt"]) == (row["state"], row["attempt"])
        assert job["attempted_by"] == row["attempted_by"]
        ats = [datetime.fromisoformat(at) for at in job["error_ats"]]
        assert ats == [datetime.fromisoformat(error["at"]) for error in row["errors"] or []]


TWINS = (
    Twin("complete"),
    Twin("fail", TEXT),
    Twin("fail", ""),
    Twin("cancel", "no longer wanted"),
    Twin("snooze", seconds=0),
    Twin("snooze", seconds=3),
    Twin("snooze", seconds=5),
    Twin("snooze", seconds=30),
)


@pytest.mark.transition("T5", "T6", "T7", "T8", "T9", "T10", "T11", "T24")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: f"{twin.do}-{twin.seconds or ''}")
def test_our_rows_equal_those_rivers_client_leaves(
    twins: Twins, river_in: Callable[[Database, str], River], empty_database: Database,
    twin: Twin, mode: Mode,
) -> None:  # fmt: skip
    count = twins.fill(twin)
    before = twins.rows("ours")
    assert before == twins.rows("rivers")
    their_times = twins.river_works(count)
    our_times = twins.ours_work(count, mode)
    check_all(twins, before, twin, our_times, their_times)
    check_go_reads(twins, river_in(empty_database, "ours"))


@pytest.mark.parametrize("mode", MODES)
def test_refused_for_good_equals_what_river_discards(
    twins: Twins, river_in: Callable[[Database, str], River], empty_database: Database, mode: Mode
) -> None:
    """River's workers cannot discard at once, so its own statements do, with what its executor
    sends for a job without attempts left."""
    twin = Twin("refuse", TEXT)
    count = twins.fill(twin)
    before = twins.rows("ours")
    their_times = twins.river_discards()
    our_times = twins.ours_work(count, mode)
    check_all(twins, before, twin, our_times, their_times)
    assert {row["state"] for row in twins.rows("ours")} == {"discarded"}
    check_go_reads(twins, river_in(empty_database, "ours"))


@pytest.mark.parametrize("mode", MODES)
def test_released_rows_are_as_they_were(
    twins: Twins, river_in: Callable[[Database, str], River], empty_database: Database, mode: Mode
) -> None:
    """Under the lock nothing is written; a lease leaves its traces, as River's T12, and keeps the
    job's place in the queue."""
    count = twins.fill(Twin("release", "nobody there"))
    before = twins.rows("ours")
    times = twins.ours_work(count, mode)
    after = twins.rows("ours")
    if mode != "locked":
        for was, row in zip(before, after, strict=True):
            check_settled(was, row, OURS, times)
            for column in ("attempted_at", "attempted_by"):
                row[column] = was[column]
    assert after == before
    check_go_reads(twins, river_in(empty_database, "ours"))


@pytest.mark.parametrize("mode", MODES)
def test_deleting_keeps_the_rows_whose_key_must_stay_taken(twins: Twins, mode: Mode) -> None:
    twin = Twin("complete")
    count = twins.fill(twin)
    kept_before = [row for row in twins.rows("ours") if twins.names[row["id"]] == "unique"]
    their_times = twins.river_works(count)
    our_times = twins.ours_work(count, mode, delete=True)
    [kept] = twins.rows("ours")
    theirs = next(row for row in twins.rows("rivers") if row["id"] == kept["id"])
    check_twins(kept_before[0], kept, theirs, twin, our_times, their_times)
