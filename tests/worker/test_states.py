"""Random histories of jobs on a real table: after each step every row is what River's rules say.

Two worker processes without their threads claim, settle, crash, freeze and come back; River's own
rescuer, a scheduler, a cleaner and an operator are about. `tests/support/river_rows.py` says what
must become of each row; what holds of any row, whatever its history, is looked at beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from riverbridge.errors import JobConflict, JobRunning
from riverbridge.model.args import RawArgs
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.options import InsertOpts
from riverbridge.model.outcome import (
    Cancelled,
    Completed,
    Delivered,
    Interrupted,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.model.unique import UniqueOpts
from tests.support import river_rescuer
from tests.support.database import Database
from tests.support.river_rows import Row, holder, superfluous
from tests.support.wait import eventually
from tests.worker.processes import QUEUE, Out, Process, Told
from tests.worker.watched import Given, Lease, Watched

OUTCOMES: Sequence[Outcome] = (
    Delivered(),
    Completed('{"note": 1}'),
    Retry("e", delay=0.0),
    Retry("e", delay=2.0),
    Retry("e", delay=60.0),
    Permanent("p"),
    Unreachable("u"),
    Cancelled("c"),
    Snoozed(0.0),
    Snoozed(60.0),
    Interrupted(),
)
REQUIRED = ("available", "pending", "running", "scheduled")
MASKS: Sequence[frozenset[str] | None] = (
    None,
    frozenset({*REQUIRED, "completed", "retryable"}),
    frozenset(REQUIRED),
)
EMPTY = "TRUNCATE river_job, river_leader, riverbridge_process RESTART IDENTITY"
PASS = "UPDATE river_job SET scheduled_at = scheduled_at - interval '1 day'"
SILENT = "UPDATE riverbridge_process SET heartbeat_at = now() - interval '1 minute' WHERE id = %s"
SEAT_RUNS_OUT = "UPDATE river_leader SET expires_at = now() - interval '1 second'"
BACKEND = "SELECT FROM pg_stat_activity WHERE pid = %s"
OWNERS = "UPDATE river_job SET attempted_by = %s WHERE id = %s"

places = st.integers(0, 7)
answers = st.lists(st.sampled_from([*OUTCOMES, None, None, None]), min_size=1, max_size=4)
jobs = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(1, 3),
        "how": st.sampled_from(["now", "now", "now", "past", "late", "pending"]),
        "key": st.integers(0, 1),
        "mask": st.sampled_from(MASKS),
        "owners": st.sampled_from([0, 0, 0, 98, 99, 100, 101]),
        "priority": st.integers(1, 4),
    }
)


class Histories(Watched):
    """Each rule is a step of a history."""

    @initialize(given=st.lists(jobs, min_size=4, max_size=6))
    def begin(self, given: list[dict[str, Any]]) -> None:
        self.given.look.execute(EMPTY)
        # Near retries of a rescue make a job available, far ones retryable.
        self.everyone = [self._start(2.0), self._start(60.0)]
        for each in given:
            self.insert(each)

    def teardown(self) -> None:
        for process in self.everyone:
            self.given.give_back(process.connection)

    # What becomes of jobs

    @precondition(lambda self: len(self.model) < 7)
    @rule(given=jobs)
    def insert(self, given: dict[str, Any]) -> None:
        key, mask, how = given["key"], given["mask"], given["how"]
        unique = None
        if mask is not None:
            states = [JobState(state) for state in sorted(mask)]
            unique = UniqueOpts(by_args=True, by_state=states)
        day = timedelta(days=1 if how == "late" else -1)
        opts = InsertOpts(
            max_attempts=given["max_attempts"],
            priority=given["priority"],
            queue=QUEUE,
            scheduled_at=datetime.now(UTC) + day if how in ("late", "past") else None,
            unique_opts=unique,
            pending=how == "pending",
        )
        result = self.given.client.insert(RawArgs("k", f'{{"key": {key}}}'), opts)
        name = None if mask is None else bytes([key])
        taken = None if name is None else holder(self.model.values(), name)
        assert result.unique_skipped_as_duplicate == (taken is not None)
        if taken is not None:
            assert result.job.id == taken.id
            return
        state = {"now": "available", "pending": "pending"}.get(how, "scheduled")
        row = Row(result.job.id, state, opts.max_attempts or 0, name, mask or frozenset())
        row.due = how != "late"
        row.owners = [f"client {number}" for number in range(given["owners"])]
        if row.owners:
            self.given.look.execute(OWNERS, (row.owners, row.id))
        self.model[row.id] = row

    @precondition(lambda self: self.claimable())
    @rule(place=places, given=answers)
    def claim_under_locks(self, place: int, given: list[Outcome | None]) -> None:
        """What is not answered at once is leased."""
        process = self._alive(place)
        expected = self.claimable()[: len(given)]
        self._worked_under_locks(process, expected, given, process.claim("lock", given))

    @precondition(lambda self: self.claimable())
    @rule(place=places, given=answers)
    def claim_as_leases(self, place: int, given: list[Outcome | None]) -> None:
        """What is answered at once waits to be written."""
        process = self._alive(place)
        expected = self.claimable()[: len(given)]
        self._leased(process, expected, given, process.claim("lease", given))

    @precondition(lambda self: len(self.claimable()) > 1)
    @rule(place=places, given=answers, others=answers)
    def claim_beside_locks(
        self, place: int, given: list[Outcome | None], others: list[Outcome | None]
    ) -> None:
        """What one process has under its locks, another passes over."""
        one, other = self._alive(place), self._alive(place + 1)
        expected, found = self.claimable(), []
        one.taker.meanwhile = lambda: found.extend(other.claim("lease", others))
        had = one.claim("lock", given)
        one.taker.meanwhile = lambda: None
        self._worked_under_locks(one, expected[: len(given)], given, had)
        self._leased(other, expected[len(given) :][: len(others)], others, found)

    @precondition(lambda self: self.claimable())
    @rule(place=places, given=answers)
    def lose_the_connection_under_locks(self, place: int, given: list[Outcome | None]) -> None:
        """Nothing was written, so nothing has happened."""
        process = self._alive(place)
        backend = process.connection.info.backend_pid
        process.taker.meanwhile = process.connection.close
        with pytest.raises(psycopg.OperationalError):
            process.claim("lock", given)
        process.taker.forget_abandoned()
        process.connection = self.given.take()
        look = self.given.look
        eventually(lambda: not look.execute(BACKEND, (backend,)).fetchall(), every=0.001)

    @precondition(lambda self: self._busy())
    @rule(place=places, which=places, outcome=st.sampled_from(OUTCOMES), at_once=st.booleans())
    def answer(self, place: int, which: int, outcome: Outcome, at_once: bool) -> None:
        """A function that was leased returns; it is settled, now or later."""
        process = _nth(self._busy(), place)
        self._answer(process, _nth(process.taker.out, which), outcome)
        if at_once:
            self._settled(process, process.settle())

    @precondition(lambda self: self._busy())
    @rule(place=places, which=places, outcome=st.sampled_from(OUTCOMES))
    def answer_what_is_cancelled(self, place: int, which: int, outcome: Outcome) -> None:
        """A function returns in spite of a cancel from outside."""
        process = _nth(self._busy(), place)
        out = _nth(process.taker.out, which)
        if out.id in self.model:
            self._cancel(self.model[out.id])
        self._answer(process, out, outcome)
        self._settled(process, process.settle())

    @precondition(lambda self: self._busy())
    @rule(place=places, which=places, outcome=st.sampled_from(OUTCOMES))
    def answer_what_another_has(self, place: int, which: int, outcome: Outcome) -> None:
        """A process freezes; another takes back what it has and works it; the first comes late."""
        late = _nth(self._busy(), place)
        place = self.everyone.index(late)
        out = _nth(late.taker.out, which)
        self.lose_a_process(place, "freezes")
        self.rescue(place + 1)
        self.look()
        self.time_passes()
        self.look()
        self.schedule(place + 1, "still")
        self.look()
        self.claim_as_leases(place + 1, [None] * 4)
        self.look()
        self._answer(late, out, outcome)
        self._settled(late, late.settle())

    @precondition(lambda self: any(map(self._answered, self.everyone)))
    @rule(place=places)
    def settle(self, place: int) -> None:
        """A process that others took for dead comes too late: what it lost is not touched."""
        process = _nth([each for each in self.everyone if self._answered(each)], place)
        self._settled(process, process.settle())

    @precondition(lambda self: self.model)
    @rule(which=places, operation=st.sampled_from(["cancel", "cancel", "retry", "retry", "delete"]))
    def operate(self, which: int, operation: str) -> None:
        """What an operator asks for, of whatever job, those that run first."""
        rows = sorted(self.model.values(), key=lambda row: row.state != "running")
        row = _nth(rows, which)
        getattr(self, f"_{operation}")(row)

    def _cancel(self, row: Row) -> None:
        job = self.given.client.job_cancel(row.id)
        row.cancel()
        assert job.state == row.state

    def _retry(self, row: Row) -> None:
        taken = None
        if row.retriable and row.key is not None:
            taken = holder(self.model.values(), row.key, but=row)
        if taken is not None:
            with pytest.raises(JobConflict) as refused:
                self.given.client.job_retry(row.id)
            assert refused.value.holder_id == taken.id
            return
        self.given.client.job_retry(row.id)
        if row.retriable:
            row.retry()

    def _delete(self, row: Row) -> None:
        if row.state == "running":
            with pytest.raises(JobRunning):
                self.given.client.job_delete(row.id)
            return
        self.given.client.job_delete(row.id)
        del self.model[row.id]

    # What becomes of processes

    @precondition(lambda self: any(self.leases.values()))
    @rule(place=places, how=st.sampled_from(["crashes", "freezes", "stops"]))
    def lose_a_process(self, place: int, how: str) -> None:
        """One that crashes leaves its record, and another takes its place. One that freezes may yet
        settle what it has left, before it beats again. One that stops hands its leases back."""
        process = self._alive(place)
        if how == "stops":
            for lease in self.leases[process.id]:
                lease.answer = lease.answer or Unreachable("no answer")
            self._settled(process, process.stop())
        else:
            self.given.look.execute(SILENT, (process.id,))
        if how == "freezes":
            self.silent.add(process.id)
        else:
            self._replace(process)

    @precondition(lambda self: any(self._orphaned(row) for row in self.model.values()))
    @rule(place=places)
    def rescue(self, place: int) -> None:
        process = self._alive(place)
        process.rescue()
        for row in self.model.values():
            if self._orphaned(row):
                row.rescue(process.retry)

    @precondition(lambda self: any(row.state == "running" for row in self.model.values()))
    @rule(at_once=st.booleans())
    def river_finds_stuck_jobs(self, at_once: bool) -> None:
        ids = river_rescuer.stuck(self.given.look)
        assert ids == sorted(row.id for row in self.model.values() if row.state == "running")
        self.found = [(id_, *self.model[id_].found_stuck()) for id_ in ids]
        if at_once:
            self.river_rescues_what_it_found()

    @precondition(lambda self: self.found)
    @rule()
    def river_rescues_what_it_found(self) -> None:
        """Without another look: what has become of them meanwhile is overwritten (contract 3.9)."""
        found, self.found = self.found, []
        if self._would_share_a_key(found):
            with pytest.raises(psycopg.errors.UniqueViolation):
                river_rescuer.rescue(self.given.look, found)
            return
        river_rescuer.rescue(self.given.look, found)
        for id_, state, attempt in found:
            if id_ in self.model:
                self.model[id_].rescue_as_river(state, attempt)

    # What a leader does

    @precondition(lambda self: self._waiting())
    @rule(place=places, leads=st.sampled_from(["still", "resigned", "silent"]))
    def schedule(self, place: int, leads: str) -> None:
        """By whoever believes that it leads, and perhaps another: two may at once."""
        process = self._alive(place)
        if leads != "still" or self.leader not in self.everyone:
            self._lead(process, self.leader if leads == "resigned" else None)
            self.leader = process
        due = self._waiting()
        discarded = superfluous(self.model.values(), due)
        process.schedule()
        for row in due:
            row.schedule(superfluous=row.id in discarded)

    @precondition(lambda self: any(row.state == "completed" for row in self.model.values()))
    @rule(place=places)
    def clean(self, place: int) -> None:
        self._alive(place).clean()
        self.model = {id_: row for id_, row in self.model.items() if row.state != "completed"}

    @precondition(lambda self: any(not row.due for row in self.model.values()))
    @rule()
    def time_passes(self) -> None:
        self.given.look.execute(PASS)
        for row in self.model.values():
            row.due = True
            row.scheduled += 1

    def _start(self, retry: float) -> Process:
        process = Process(self.given.connect, self.given.take(), retry)
        self.leases[process.id] = []
        return process

    def _replace(self, process: Process) -> None:
        self.everyone[self.everyone.index(process)] = self._start(process.retry)
        self.given.give_back(process.connection)
        self.silent.discard(process.id)
        del self.leases[process.id]
        if self.leader is process:
            self.leader = None

    def _busy(self) -> list[Process]:
        """Who has functions at work."""
        return [process for process in self.everyone if process.taker.out]

    def _answer(self, process: Process, out: Out, outcome: Outcome) -> None:
        open_ = [lease for lease in self.leases[process.id] if lease.answer is None]
        lease = open_[process.taker.out.index(out)]
        assert lease.id == out.id
        process.taker.answer(out, outcome)
        lease.answer = outcome

    def _answered(self, process: Process) -> list[Lease]:
        return [lease for lease in self.leases[process.id] if lease.answer is not None]

    def _settled(self, process: Process, told: list[Told]) -> None:
        """Only what is still its own was written, and it is told what became of that."""
        ours = []
        for lease in self._answered(process):
            self.leases[process.id].remove(lease)
            row = self.model.get(lease.id)
            if row is not None and row.lease is lease.fence and lease.answer is not None:
                row.settle(lease.answer)
                ours.append((lease.id, row.state))
        assert sorted(told) == sorted(ours)

    def _alive(self, place: int) -> Process:
        """A process that beats; one that did not does so first."""
        process = self.everyone[place % len(self.everyone)]
        if process.id in self.silent:
            process.beat()
            self.silent.discard(process.id)
        return process

    def _ordered(self) -> list[Row]:
        """In the order in which River looks at them, from the last look at the table."""

        def place(row: Row) -> tuple[Any, ...]:
            seen = self.seen[row.id]
            return seen["priority"], seen["scheduled_at"], row.id

        return sorted(self.model.values(), key=place)

    def claimable(self) -> list[Row]:
        return [row for row in self._ordered() if row.due and row.state == "available"]

    def _waiting(self) -> list[Row]:
        """What a scheduler moves on."""
        states = ("retryable", "scheduled")
        return [row for row in self._ordered() if row.due and row.state in states]

    def _orphaned(self, row: Row) -> bool:
        living = {process.id for process in self.everyone} - self.silent
        return row.state == "running" and row.owners[-1] not in living

    def _worked_under_locks(
        self,
        process: Process,
        expected: list[Row],
        given: list[Outcome | None],
        had: list[ClaimedJob],
    ) -> None:
        """The process claimed what was `expected`; what it did not answer at once is leased."""
        assert [job.id for job in had] == [row.id for row in expected]
        for row, outcome in zip(expected, given, strict=False):
            if isinstance(outcome, Unreachable):
                continue  # nothing was written
            fence = row.claim(process.id)
            if outcome is None:
                self.leases[process.id].append(Lease(row.id, fence))
            else:
                row.settle(outcome)

    def _leased(
        self,
        process: Process,
        expected: list[Row],
        given: list[Outcome | None],
        had: list[ClaimedJob],
    ) -> None:
        """The process claimed what was `expected`; what it answered is yet to be written."""
        assert [job.id for job in had] == [row.id for row in expected]
        for row, outcome in zip(expected, given, strict=False):
            self.leases[process.id].append(Lease(row.id, row.claim(process.id), outcome))

    def _lead(self, process: Process, resigning: Process | None) -> None:
        """Take the seat from whoever has it: who resigns it, or who is not heard of any more."""
        if resigning in self.everyone and resigning is not None:
            resigning.elector.resign(resigning.connection, 5.0)
        else:
            self.given.look.execute(SEAT_RUNS_OUT)
        if process.elector.is_leader:  # it finds that it has lost the seat
            process.elector.step(process.connection)
        process.elector.step(process.connection)
        assert process.elector.is_leader
        seat = self.given.look.execute("SELECT leader_id FROM river_leader").fetchall()
        assert seat == [(process.id,)]

    def _would_share_a_key(self, found: list[tuple[int, str, int]]) -> bool:
        """Whether two rows would hold one key after River's rescue."""
        states = {id_: state for id_, state, _ in found}
        keys = [
            row.key
            for row in self.model.values()
            if row.key is not None and states.get(row.id, row.state) in row.mask
        ]
        return len(keys) > len(set(keys))


def _nth(among: Sequence[Any], place: int) -> Any:
    return among[place % len(among)]


@pytest.fixture
def given(module_database: Database) -> Iterator[Given]:
    with closing(Given(module_database)) as shared:
        yield shared


def run(given: Given, sequences: int, steps: int) -> None:
    machine = type("Histories", (Histories,), {"given": given})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes many minutes
        ),
    )


def test_rows_are_what_the_rules_say_whatever_their_history(given: Given) -> None:
    run(given, sequences=25, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rows_are_what_the_rules_say_in_many_histories(given: Given) -> None:
    run(given, sequences=500, steps=60)
