"""The table of a random history, and what is true of it after each step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant
from psycopg.rows import dict_row

from riverbridge.client.client import Client
from riverbridge.model.outcome import Outcome
from riverbridge.store.database import Connection, connector, lost
from tests.support.database import Database
from tests.support.river_rows import CONFLICT, FINALIZED, MARK, Row
from tests.worker.processes import Fence, Process

COLUMNS = (
    "id, state::text, attempt, max_attempts, attempted_by, to_json(errors) AS errors, metadata,"
    " attempted_at, scheduled_at, finalized_at, priority, scheduled_at <= now() AS due"
)
# An hour instead of seconds: no clock of ours decides whether a job is due.
STAND_STILL = "UPDATE river_job SET scheduled_at = scheduled_at + interval '1 hour' WHERE id = %s"


class Given:
    """What all sequences share: a database and connections to it."""

    def __init__(self, database: Database) -> None:
        self.connect = connector(database.dsn)
        self.look = self.connect()
        self.client = Client(self.look)
        self._idle: list[Connection] = []

    def take(self) -> Connection:
        return self._idle.pop() if self._idle else self.connect()

    def give_back(self, connection: Connection) -> None:
        if not lost(connection):
            self._idle.append(connection)

    def close(self) -> None:
        for connection in (self.look, *self._idle):
            connection.close()


@dataclass(eq=False)
class Lease:
    """What a process believes to hold. fence: who else may settle the row does not have it."""

    id: int
    fence: object
    answer: Outcome | None = None


class Watched(RuleBasedStateMachine):
    """`model` says what each row must be, `seen` what it was at the last look."""

    given: Given

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, Row] = {}
        self.seen: dict[int, dict[str, Any]] = {}
        self.stamps: dict[int, tuple[int, int, int]] = {}
        self.found: list[tuple[int, str, int]] = []
        """What River's rescuer has found stuck and not rescued yet."""
        self.leases: dict[str, list[Lease]] = {}
        """By process: the leases it believes in, as they were taken."""
        self.fences: dict[Fence, int] = {}
        """By the fence that a running row has shown: which of the job's attempts it was."""
        self.silent: set[str] = set()
        self.everyone: list[Process] = []
        self.leader: Process | None = None

    @invariant()
    def look(self) -> None:
        self._every_row_is_what_the_rules_say()
        self._no_row_breaks_what_holds_of_all()
        self._an_attempt_is_had_by_one_process_alone()
        self._hold_the_clock()

    def _every_row_is_what_the_rules_say(self) -> None:
        rows = self._read()
        assert rows.keys() == self.model.keys()
        for id_, row in rows.items():
            model, before = self.model[id_], self.seen.get(id_)
            expected = {
                "state": model.state,
                "attempt": model.attempt,
                "max_attempts": model.max_attempts,
                "attempted_by": model.owners or None,
                "metadata": model.metadata,
                "due": model.due,
            }
            assert {name: row[name] for name in expected} == expected, (row, model)
            assert [error["attempt"] for error in row["errors"] or ()] == model.errors, row
            stamps = (model.attempted, model.scheduled, model.finalized)
            if before is not None:
                names = ("attempted_at", "scheduled_at")
                for name, was, stamp in zip(names, self.stamps[id_], stamps, strict=False):
                    assert (row[name] != before[name]) == (was != stamp), (name, before, row)
            self.stamps[id_] = stamps
        self.seen = rows

    def _no_row_breaks_what_holds_of_all(self) -> None:
        for row in self.seen.values():
            model = self.model[row["id"]]
            assert (row["finalized_at"] is not None) == (row["state"] in FINALIZED), row
            assert 0 <= row["attempt"] <= row["max_attempts"] or model.operated, row
            assert len(row["errors"] or ()) <= row["attempt"] or model.operated, row
            if row["state"] in ("retryable", "discarded") and CONFLICT not in row["metadata"]:
                assert row["errors"], row
            if row["state"] == "cancelled":
                assert row["errors"] or MARK in row["metadata"], row
            owners = len(row["attempted_by"] or ())
            assert owners <= 100 or row["attempted_at"] is None, row
            if row["state"] == "running":
                assert row["attempted_at"] is not None
                assert row["attempt"] > 0
                assert owners > 0

    def _an_attempt_is_had_by_one_process_alone(self) -> None:
        """By the fence that its row shows, which no attempt before it had. The lane that has it
        knows: else its own keeper would take the job from it."""
        fences = [fence for process in self.everyone for fence in process.fences()]
        assert len(set(fences)) == len(fences)
        for row in self.seen.values():
            if row["state"] != "running":
                continue
            fence = (row["id"], row["attempt"], row["attempted_by"][-1], row["attempted_at"])
            attempted = self.model[row["id"]].attempted
            assert self.fences.setdefault(fence, attempted) == attempted, row
        for process in self.everyone:
            held = {
                (lease.id, self.seen[lease.id]["attempted_at"])
                for lease in self.leases[process.id]
                if lease.id in self.model and self.model[lease.id].lease is lease.fence
            }
            assert held <= {(id_, claimed_at) for id_, _, _, claimed_at in process.fences()}

    def _read(self) -> dict[int, dict[str, Any]]:
        with self.given.look.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(f"SELECT {COLUMNS} FROM river_job".encode()).fetchall()
        for row in found:
            if MARK in row["metadata"]:
                datetime.fromisoformat(row["metadata"][MARK])
                row["metadata"][MARK] = True
        return {row["id"]: row for row in found}

    def _hold_the_clock(self) -> None:
        """Put waits of seconds off to another day, so that only `time_passes` ends them."""
        now = datetime.now(UTC)
        for id_, row in self.seen.items():
            if not row["due"] and row["scheduled_at"] < now + timedelta(minutes=30):
                self.given.look.execute(STAND_STILL, (id_,))
                row["scheduled_at"] += timedelta(hours=1)
