"""Slots: who owns them, and what a receiver's answer makes of a batch that nobody settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.slots import Slot, SlotLost, Slots
from riverbridge.model.evidence import Evidence
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Misconfigured, Unreachable
from riverbridge.model.retry import FixedRetry
from riverbridge.store.database import transaction
from riverbridge.store.jobs import EVERYTHING, JobTable
from riverbridge.store.slots import SlotTable
from tests.support.bridge import ScriptedSink
from tests.support.database import Database
from tests.support.running import running
from tests.support.wait import eventually

Rows = psycopg.Connection[tuple[object, ...]]


class Receiver:
    """Remembers what tests say that it got, for all slots."""

    def __init__(self) -> None:
        self.answer: Evidence | Unreachable | Misconfigured = Evidence()
        self.dropped: list[str] = []

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        return self.answer

    def usable(self, slot: str) -> bool:
        return True

    def drop(self, slot: str) -> None:
        self.dropped.append(slot)


class Process:
    """What a process has of a sink with one slot, and its keeper's part."""

    def __init__(self, connection: Rows, receiver: Receiver, name: str) -> None:
        self.connection = connection
        self.jobs = JobTable(None, name)
        self.slots = Slots(
            SlotTable(None, owner=name, sink="events"), self.jobs, receiver, wanted=1, silence=8.0
        )
        self.feed = Feed("all", "outbox", ScriptedSink(), FixedRetry(30.0), slots=self.slots)  # type: ignore[arg-type]
        self.slots.serve([self.feed])
        connection.execute(
            "INSERT INTO riverbridge_process (id, host, pid, version) VALUES (%s, 'h', 1, '0')",
            (name,),
        )

    def keep(self) -> None:
        with transaction(self.connection, idle=5, total=5):
            committed = self.slots.keep(self.connection)
        committed()

    def ready(self) -> Slot:
        """A slot, once it has one."""

        def free() -> bool:
            self.keep()
            return self.slots.free > 0

        eventually(free)
        slot = self.slots.take()
        assert slot is not None
        return slot

    def send(self, slot: Slot, *, alone: bool = False) -> list[ClaimedJob]:
        """Claim all jobs as a batch under the slot."""
        with transaction(self.connection, idle=5, total=5):
            jobs = self.jobs.claim(
                self.connection, queue="outbox", kinds=["%"], taken=True,
                floors=[EVERYTHING] * 4, aside=[], limit=100, byte_budget=1 << 20,
            )  # fmt: skip
            self.jobs.lease(self.connection, jobs)
            self.slots.book(self.connection, slot, Batch(jobs, 0.0), alone=alone)
        return jobs


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def process(tables: Database, receiver: Receiver) -> Iterator[Callable[[str], Process]]:
    with ExitStack() as stack:

        def make(name: str) -> Process:
            made = Process(stack.enter_context(tables.connect()), receiver, name)
            stack.enter_context(running(made.slots))
            return made

        yield make


def insert(connection: Rows, count: int) -> None:
    connection.execute(
        "INSERT INTO river_job (kind, queue, max_attempts, args)"
        " SELECT 'test', 'outbox', 25, '{}' FROM generate_series(1, %s)",
        (count,),
    )


def dies(process: Process) -> None:
    process.connection.execute(
        "UPDATE riverbridge_process SET heartbeat_at = now() - interval '1 minute' WHERE id = 'one'"
    )


def found(connection: Rows) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT state::text, attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
        " ORDER BY id"
    ).fetchall()


def after_keeping(process: Process) -> list[tuple[object, ...]]:
    process.keep()
    return found(process.connection)


DONE, BACK = ("completed", 1, 0), ("available", 0, 0)


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (Evidence(1, frozenset([0, 2])), [DONE, BACK, DONE]),
        (Evidence(), [BACK] * 3),
        (Evidence(7, frozenset([0, 1, 2])), [BACK] * 3),
    ],
    ids=["in-part", "not", "of-another-batch"],
)
def test_a_dead_processs_batch_is_settled_as_its_receiver_says(
    process: Callable[[str], Process],
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    answer: Evidence,
    left: list[tuple[object, ...]],
) -> None:
    one, other = process("one"), process("other")
    connection = one.connection
    insert(connection, 3)
    one.send(one.ready())
    other.ready()
    assert found(connection) == [("running", 1, 0)] * 3
    queues = {"queues": ["outbox"], "limit": 10}
    with transaction(connection, idle=5, total=5):
        # The usual rescue leaves them alone.
        assert one.jobs.orphans(connection, owners=["one"], **queues) == []  # type: ignore[arg-type]
    receiver.answer = answer
    dies(one)
    eventually(lambda: after_keeping(other) == left)
    assert ("has forgotten" in caplog.text) == (answer.number == 7)
    # The other process has one already: this one is nobody's, for whoever starts next.
    owners = connection.execute("SELECT owner FROM riverbridge_slot ORDER BY owner").fetchall()
    assert owners == [("other",), (None,)]


def test_a_job_that_was_taken_alone_and_did_not_arrive_is_charged(
    process: Callable[[str], Process],
) -> None:
    one, other = process("one"), process("other")
    insert(one.connection, 1)
    one.send(one.ready(), alone=True)
    dies(one)
    eventually(lambda: after_keeping(other) == [("retryable", 1, 1)])


def test_a_slot_that_was_taken_over_books_nothing(process: Callable[[str], Process]) -> None:
    one = process("one")
    slot = one.ready()
    insert(one.connection, 1)
    dies(one)
    process("other").keep()
    with pytest.raises(SlotLost):
        one.send(slot)
    assert found(one.connection) == [BACK]


def test_what_is_in_doubt_waits_for_an_answer(
    process: Callable[[str], Process], receiver: Receiver
) -> None:
    one = process("one")
    slot = one.ready()
    insert(one.connection, 2)
    one.send(slot)
    receiver.answer = Unreachable("down")
    one.slots.doubt(slot)
    one.keep()
    assert found(one.connection) == [("running", 1, 0)] * 2
    receiver.answer = Evidence(1, frozenset([1]))
    again = one.ready()
    assert (again.id, again.number, again.known) == (slot.id, 1, 1)
    assert found(one.connection) == [BACK, DONE]
