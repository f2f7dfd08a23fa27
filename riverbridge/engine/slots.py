"""Slots: names under which batches go out to a sink that can be asked later what arrived.

A slot has at most one batch that is not settled. Its claim commits first: the rows are `running`,
and the slot's own row has the batch's number and its jobs. Then the sink sends, and its receiver
remembers the number with what it took. Whoever finds the batch unsettled, another process after a
crash or this one after an answer that never came, makes the slot its own, asks the receiver, which
also shuts out whoever may still be sending, and settles the rows by the answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from riverbridge import telemetry
from riverbridge.engine.batch import Batch, Feed, feed_of, settlement_by
from riverbridge.engine.settling import by_halves
from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Misconfigured,
    Outcome,
    Retry,
    Unreachable,
)
from riverbridge.model.settlement import Lease, Settlement, released
from riverbridge.store.database import Connection
from riverbridge.store.jobs import JobTable, Orphan
from riverbridge.store.slots import SlotRecord, SlotTable

log = logging.getLogger(__name__)

ASK = 10.0
"""Seconds an answer may take."""

REST = 1.0
"""Seconds between two questions, after one that was not answered."""


class Receiver(Protocol):
    """What can be asked (`riverbridge.sinks.base.LedgerSink`)."""

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        """End whatever was sent under this name; say which batch arrived last."""
        ...

    def usable(self, slot: str) -> bool:
        """Whether something can be sent under it."""
        ...

    def drop(self, slot: str) -> None:
        """It is not used here any more."""
        ...


class SlotLost(Exception):
    """Another process has taken the slot over, as this one was silent for too long."""


class Slot(msgspec.Struct):
    """A slot of this process. number: of its last batch. known: of the last that arrived.

    settled: no row of its last batch waits for an answer. out: a lane's book has the batch, and
    gives the slot back; a slot that is taken anew is another object, so this stays true.
    """

    id: str
    number: int
    known: int
    settled: bool
    out: bool = False


class Slots:
    """The slots of one sink in this process. Any thread may call.

    The keeper calls `keep`, a thread of its own `run`; lanes do the rest.
    """

    def __init__(
        self,
        table: SlotTable,
        jobs: JobTable,
        receiver: Receiver,
        *,
        wanted: int,
        silence: float,
    ) -> None:
        """wanted: how many batches may be out at once. silence: seconds after which a process that
        does not beat counts as dead."""
        self.sink = table.sink
        self._table = table
        self._jobs = jobs
        self._receiver = receiver
        self._wanted = wanted
        self._silence = silence
        self._feeds: Sequence[Feed] = ()
        self._changed = threading.Condition()
        self._mine: set[str] = set()
        self._free: deque[Slot] = deque()
        self._to_ask: deque[Slot] = deque()
        self._answered: list[tuple[Slot, Evidence]] = []

    def serve(self, feeds: Sequence[Feed]) -> None:
        """The feeds whose batches go out here: how their jobs are tried again."""
        self._feeds = [feed for feed in feeds if feed.slots is self]

    @property
    def free(self) -> int:
        """How many batches could go out now."""
        return len(self._free)

    def take(self) -> Slot | None:
        """A slot for a batch; end it by `give_back`, `doubt` or `lost`."""
        with self._changed:
            return msgspec.structs.replace(self._free.popleft(), out=False) if self._free else None

    @contextmanager
    def for_a_turn(self) -> Iterator[Slot | None]:
        """A slot for one claim, if there is one; afterwards it is a lane's book's, or free again.

        A claim under a slot that was lost is rolled back, and all is well: nothing was begun.
        """
        slot = self.take()
        if slot is None:
            yield None
            return
        try:
            yield slot
        except SlotLost as why:
            log.warning("%s; its batch was not begun", why)
            self.lost(slot)
        except BaseException:
            if not slot.out:
                self.doubt(slot)
            raise
        else:
            if not slot.out:
                self.give_back(slot)

    def book(self, connection: Connection, slot: Slot, batch: Batch, *, alone: bool) -> None:
        """Write the batch down in the transaction that leases its jobs. Raises SlotLost."""
        slot.number += 1
        if not self._table.book(
            connection,
            slot.id,
            number=slot.number,
            known=slot.known,
            jobs=[job.id for job in batch.jobs],
            alone=alone,
        ):
            raise SlotLost(f"sink {self.sink}: the slot {slot.id} was taken over")
        batch.slot = slot

    def give_back(self, slot: Slot, *, arrived: bool = False) -> None:
        """Its batch is settled, or none went out. arrived: some of it was delivered."""
        with self._changed:
            if arrived:
                slot.known = slot.number
            if self._receiver.usable(slot.id):
                self._free.append(slot)
            else:
                slot.settled = True
                self._ask_later(slot)

    def doubt(self, slot: Slot) -> None:
        """Only the receiver knows what became of its batch, or the rows whether there is one."""
        with self._changed:
            slot.settled = False
            self._ask_later(slot)

    def lost(self, slot: Slot) -> None:
        """The slot is another process's."""
        with self._changed:
            self._mine.discard(slot.id)
        self._receiver.drop(slot.id)

    def run(self, stop: threading.Event) -> None:
        """Ask the receiver, one question at a time, until `stop`."""
        while not stop.is_set():
            with self._changed:
                if not self._to_ask:
                    self._changed.wait(0.2)
                    continue
                slot = self._to_ask.popleft()
            answer = self._receiver.ask(slot.id, time.monotonic() + ASK)
            with self._changed:
                if not isinstance(answer, Evidence):
                    self._to_ask.append(slot)
                elif slot.settled and len(self._mine) <= self._wanted:
                    self._ready(slot, answer)
                else:
                    self._answered.append((slot, answer))
            if not isinstance(answer, Evidence):
                stop.wait(REST)

    def keep(self, connection: Connection) -> Callable[[], None]:
        """Take over what dead processes had, make what is missing, settle what was answered.

        In a transaction of the keeper's; what it returns is to be called after the commit.
        """
        with self._changed:
            answered, held = list(self._answered), list(self._mine)
        missing = max(0, self._wanted - len(held))
        taken = self._table.take(connection, silence=self._silence, wanted=missing, held=held)
        taken += self._table.create(connection, missing - len(taken))
        ended = []
        left = len(held) + len(taken)
        for slot, evidence in answered:
            end, kept = self._settle(connection, slot, evidence, keep=left <= self._wanted)
            ended.append(end)
            left -= not kept

        def committed() -> None:
            with self._changed:
                del self._answered[: len(answered)]
                for record in taken:
                    slot = Slot(record.id, record.number, record.known, record.leased_by is None)
                    self._mine.add(slot.id)
                    self._ask_later(slot)
            for end in ended:
                end()

        return committed

    def _ask_later(self, slot: Slot) -> None:
        self._to_ask.append(slot)
        self._changed.notify()

    def _ready(self, slot: Slot, evidence: Evidence) -> None:
        """Its last batch is settled, and its producer is new: another one may go out."""
        slot.number = max(slot.number, evidence.number)
        slot.known = evidence.number
        slot.settled = True
        self._free.append(slot)

    def _settle(
        self, connection: Connection, slot: Slot, evidence: Evidence, *, keep: bool
    ) -> tuple[Callable[[], None], bool]:
        """Settle the slot's batch as the receiver says. What to do after the commit, and whether
        the slot stays ours."""
        record = self._table.lock(connection, slot.id)
        if record is None:
            return (lambda: self.lost(slot)), False
        if record.leased_by is not None and record.leased_at is not None:
            orphans = self._jobs.orphans_of_batch(
                connection,
                record.jobs,
                leased_by=record.leased_by,
                leased_at=record.leased_at,
            )
            if orphans:
                self._write(connection, record, evidence, orphans)
        number = max(record.number, evidence.number)
        self._table.settled(connection, slot.id, number=number, keep=keep)
        if not keep:
            return (lambda: self.lost(slot)), False

        def end() -> None:
            with self._changed:
                self._ready(slot, evidence)

        return end, True

    def _write(
        self,
        connection: Connection,
        record: SlotRecord,
        evidence: Evidence,
        orphans: Sequence[Orphan],
    ) -> None:
        arrived: set[int] = set()
        if evidence.number == record.number:
            arrived = {id_ for place, id_ in enumerate(record.jobs) if place in evidence.places}
        elif evidence.number != record.known:
            log.error(
                "sink %s: its receiver has forgotten what arrived (it knows of batch %d of %s, and "
                "%d or %d was expected): %d jobs are sent again and may arrive twice",
                self.sink,
                evidence.number,
                record.id,
                record.known,
                record.number,
                len(orphans),
            )
        rows = [(o.lease, self._row(o, o.lease.job.id in arrived, record)) for o in orphans]

        def write(items: Sequence[tuple[Lease, Settlement]]) -> int:
            return len(self._jobs.settle_leased(connection, items))

        for (lease, _), why in by_halves(connection, rows, write):
            log.error("job %d cannot be settled, and may come twice: %s", lease.job.id, why)
        known = sum(orphan.lease.job.id in arrived for orphan in orphans)
        telemetry.reconciled.add(known, {"sink": self.sink, "arrived": "yes"})
        telemetry.reconciled.add(len(orphans) - known, {"sink": self.sink, "arrived": "no"})
        log.warning(
            "sink %s was asked for the batch that %s left: %d of its jobs had arrived, %d had not",
            self.sink,
            record.leased_by,
            known,
            len(orphans) - known,
        )

    def _row(self, orphan: Orphan, arrived: bool, record: SlotRecord) -> Settlement:
        """What the receiver's answer makes of a job: what arrived is delivered, the rest comes back
        with its attempt; but a job that was taken alone has perhaps killed its process."""
        job = orphan.lease.job
        reason = f"the process {record.leased_by} died with this job, and it did not arrive"
        outcome: Outcome
        if arrived:
            outcome = Delivered()
        elif orphan.cancel_marked:
            outcome = Cancelled(reason)
        elif record.alone and record.leased_by != self._table.owner:
            outcome = Retry(reason)
        else:
            return released(job)
        row = settlement_by(feed_of(self._feeds, job), job, outcome)
        assert row is not None  # none of these is released
        return row
