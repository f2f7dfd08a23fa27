"""Go and Python work one database's jobs together, while processes of both are stopped and killed
and the leadership goes to and fro: each job ends as it should, and no two work it at once."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row

from riverbridge import Client, InsertManyParams, InsertOpts, RawArgs, UniqueOpts
from tests.interop.conftest import River
from tests.interop.soak.field import ENDLESSLY, Field, Seed
from tests.interop.soak.fleet import OTHER, Fleet, How, Member, Terms, name_of
from tests.interop.soak.journals import Call, by_job, overlaps
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.go

LEFT = "SELECT count(*) FROM river_job WHERE finalized_at IS NULL"
ROWS = """
SELECT id, state::text, attempt, attempted_by, attempted_at, scheduled_at, priority, queue, kind,
    args, metadata, to_json(errors) AS errors
FROM river_job
"""
TO_CANCEL = """
SELECT id FROM river_job
WHERE finalized_at IS NULL
  AND (args ->> 'do' = 'wait' AND state = 'running' OR scheduled_at > now() + interval '30 minutes')
"""
RESCUED = ("Stuck job rescued by JobRescuer", "died with this job in delivery")
"""What stands in a row that a leader, or a living fellow of a dead process, took back."""


@dataclass(frozen=True)
class Round:
    """What happens after each sowing. crash: a process of each side that does not lead is killed.
    hand_over: how the side that leads goes away, until the other leads."""

    crash: bool
    hand_over: How


class Farm:
    """Inserts and cancels, by both sides."""

    def __init__(self, river: River, database: Database, home: Path) -> None:
        self._river = river
        self._database = database
        self._home = home
        self._client = Client(database.dsn)
        self._files = itertools.count()

    def sow(self, seeds: Sequence[Seed]) -> None:
        """Half by each side, and unique ones twice by both, at the same time."""
        unique = [seed for seed in seeds if seed.unique]
        plain = [seed for seed in seeds if not seed.unique]
        with ThreadPoolExecutor() as sides:
            go = sides.submit(self._by_go, unique + plain[::2] + unique)
            python = sides.submit(self._by_python, unique[::-1] + plain[1::2] + unique)
            rows = go.result() + python.result()
        assert sorted(rows) == sorted(seed.args.number for seed in seeds)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def cancelling(self) -> Iterator[None]:
        """What is to be cancelled from outside is, by both sides, as long as the block runs."""
        stop = threading.Event()
        with ThreadPoolExecutor() as pool:
            cancelling = pool.submit(self._cancel_until, stop)
            try:
                yield
            finally:
                stop.set()
                cancelling.result()

    def _by_go(self, seeds: Iterable[Seed]) -> list[int]:
        file = self._home / f"{next(self._files)}.json"
        file.write_text(json.dumps([asdict(seed) for seed in seeds]))
        rows: list[int] = self._river("sow", file)
        return rows

    def _by_python(self, seeds: Iterable[Seed]) -> list[int]:
        many: list[InsertManyParams] = []
        rows: list[int] = []
        for seed in seeds:
            args, opts = RawArgs(seed.kind, json.dumps(asdict(seed.args))), _options(seed)
            if not seed.unique:
                many.append(InsertManyParams(args, opts))
                rows.append(seed.args.number)
            elif not self._client.insert(args, opts).unique_skipped_as_duplicate:
                rows.append(seed.args.number)
        if many:
            self._client.insert_many(many)
        return rows

    def _cancel_until(self, stop: threading.Event) -> None:
        with self._database.connect() as connection:
            while not stop.wait(0.3):
                ids = [id_ for (id_,) in connection.execute(TO_CANCEL)]
                for id_ in ids[::2]:
                    self._client.job_cancel(id_)
                if ids[1::2]:
                    orders = [{"do": "job_cancel", "id": id_} for id_ in ids[1::2]]
                    self._river("administer", json.dumps({"operations": orders}))


def _options(seed: Seed) -> InsertOpts:
    ahead = timedelta(milliseconds=seed.ahead_ms)
    return InsertOpts(
        max_attempts=seed.max_attempts,
        priority=seed.priority,
        queue=seed.queue,
        scheduled_at=datetime.now(UTC) + ahead if ahead else None,
        unique_opts=UniqueOpts(by_args=True) if seed.unique else None,
    )


class Soak:
    def __init__(self, river: River, program: Path, database: Database, home: Path, rescue: int):
        self.river = river
        self.database = database
        self.field = Field(seed=7)
        self.farm = Farm(river, database, home)
        self.fleet = Fleet(program, database, home, rescue)
        self.terms = Terms(database)

    def run(self, jobs: int, rounds: Sequence[Round], drain: float) -> None:
        fleet = self.fleet
        with (
            closing(self.farm),
            self.database.connect() as look,
            fleet.ended(),
            self.terms.watched(),
            self.farm.cancelling(),
        ):
            fleet.start("go", "python", "go", "python")
            for round_ in rounds:
                self.farm.sow(self.field.make(jobs // len(rounds)))
                if round_.crash:
                    for side in OTHER:
                        self._crash(fleet.of(side)[0])
                if round_ is rounds[-1]:
                    eventually(fleet.dead_have_no_fresh_jobs, within=60)
                self._hand_over(round_.hand_over)
            eventually(lambda: look.execute(LEFT).fetchone() == (0,), within=drain, every=0.1)

    def _hand_over(self, how: How) -> None:
        fleet = self.fleet
        side = fleet.leader().side
        gone = fleet.of(side)
        for member in gone:
            self._crash(member) if how == "kill" else fleet.stop(member)
        fleet.led_by(OTHER[side])
        fleet.start(*[side] * 2, *[OTHER[side]] * (2 - len(fleet.of(OTHER[side]))))

    def _crash(self, member: Member) -> None:
        """In the middle of its work, of which it gets more until it has some."""
        while not self.fleet.is_at_work(member):
            self.farm.sow(self.field.make_long(4, queue=member.side))
        self.fleet.kill(member)

    def check(self) -> list[dict[str, Any]]:
        """Look at every row and every call. Returns the rows."""
        with self.database.connect() as look, look.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(ROWS).fetchall()
        assert sorted(row["args"]["number"] for row in rows) == list(range(len(self.field.seeds)))
        calls = by_job(self.fleet.journals)
        killed = {journal.name for journal in self.fleet.journals if journal.killed is not None}
        for row in rows:
            had = calls.get(row["id"], [])
            check_row(self.field.seeds[row["args"]["number"]], row)
            check_calls(row, had, killed)
            assert not overlaps(had), overlaps(had)
        read = {job["id"]: job for job in self.river("read", within=300)}
        assert read.keys() == {row["id"] for row in rows}
        for row in rows:
            for column in ("state", "attempt", "attempted_by", "metadata"):
                assert (read[row["id"]][column] or None) == (row[column] or None), row
        return rows


def check_row(seed: Seed, row: dict[str, Any]) -> None:
    """The row is what its job should have left, however often its workers died."""
    errors, metadata = row["errors"] or [], row["metadata"]
    assert row["state"] == seed.ends(), row
    for column in ("priority", "queue", "kind"):
        assert row[column] == getattr(seed, column), row
    rescues = [e for e in errors if any(text in e["error"] for text in RESCUED)]
    assert metadata.get("river:rescue_count", 0) == len(rescues), row
    # Each attempt but that which completed the job has left its error, and the number it had.
    assert [e["attempt"] for e in errors] == list(range(1, len(errors) + 1)), row
    assert row["attempt"] == len(errors) + (row["state"] == "completed"), row
    if not seed.is_cancelled_from_outside():
        assert metadata.get("snoozes", 0) == seed.args.snooze, row
        planned = sum("planned" in e["error"] for e in errors)
        if seed.args.fail == ENDLESSLY:
            assert row["attempt"] == seed.max_attempts, row
        else:
            assert planned == seed.args.fail + (seed.args.do == "cancel"), row
    if seed.never_works:
        assert row["attempt"] == 0, row
    if row["state"] == "completed":
        assert row["attempted_at"] >= row["scheduled_at"], row


def check_calls(row: dict[str, Any], calls: list[Call], killed: Collection[str]) -> None:
    """What the row says of who worked it is what the journals say."""
    owners = [name_of(owner) for owner in row["attempted_by"] or ()]
    assert len(owners) == row["attempt"] + row["metadata"].get("snoozes", 0), row
    # A call that was cut off under a row lock has left nothing in the row, and a process may have
    # been killed between its claim and the call.
    called = iter(call.by for call in calls)
    assert all(owner in called for owner in owners if owner not in killed), (row, calls)
    if row["queue"] != "both":
        assert all(owner.startswith(row["queue"]) for owner in owners), row
    if row["state"] == "completed":
        assert calls[-1].whole, (row, calls)
        assert (calls[-1].by, calls[-1].attempt) == (owners[-1], row["attempt"]), (row, calls)


@pytest.fixture
def soak(river: River, river_program: Path, database: Database, tmp_path: Path) -> Soak:
    return Soak(river, river_program, database, tmp_path, rescue=10)


def judge(soak: Soak, rows: list[dict[str, Any]], changes: int) -> None:
    """Enough has happened for the rows to mean something."""
    errors = [error["error"] for row in rows for error in row["errors"] or ()]
    by_leaders, by_fellows = (sum(text in error for error in errors) for text in RESCUED)
    journals, terms = soak.fleet.journals, soak.terms
    to_go, to_python = terms.changes("go"), terms.changes("python")
    print(
        f"\n{len(rows)} jobs, {sum(len(journal.calls()) for journal in journals)} calls by "
        f"{len(journals)} processes; killed: {soak.fleet.kills}; attempts rescued by leaders: "
        f"{by_leaders}, by fellows: {by_fellows}; leadership went to Go {to_go} times, to Python "
        f"{to_python} times, in {len(terms)} terms"
    )
    assert by_leaders
    assert by_fellows
    assert to_go + to_python >= changes
    assert min(to_go, to_python) >= changes // 2


def test_go_and_python_share_jobs_through_crashes_and_changes_of_leader(soak: Soak) -> None:
    rounds = [Round(True, "stop"), Round(False, "stop"), Round(False, "stop")]
    soak.run(510, rounds, drain=40)
    judge(soak, soak.check(), changes=3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_jobs_end_as_they_should(soak: Soak) -> None:
    ways: list[How] = ["stop", "kill", "kill", "stop", "stop"]
    soak.run(10_000, [Round(True, how) for how in ways * 2], drain=120)
    judge(soak, soak.check(), changes=10)
