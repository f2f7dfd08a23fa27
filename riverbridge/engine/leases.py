"""Leases that are out: settled when answered, handed back when nobody answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from riverbridge import telemetry
from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.pace import Slowness
from riverbridge.engine.settling import Aside, by_halves, write_leased, write_receipts
from riverbridge.model.job import JobState
from riverbridge.model.outcome import Delivered, InDoubt, Outcome, Unreachable
from riverbridge.model.receipt import Receipt
from riverbridge.model.settlement import Lease, Settlement, released
from riverbridge.store.database import Connection, transaction
from riverbridge.store.jobs import JobTable

log = logging.getLogger(__name__)

UNTAKEN = "the row did not take the update (a trigger?)"

NO_ANSWER = Unreachable("the taker gave no answer by its deadline")
IN_DOUBT = InDoubt(NO_ANSWER.error)


class _Out(msgspec.Struct):
    feed: Feed
    batch: Batch
    leases: dict[int, Lease]
    """By the job's place in the batch; those still to be settled."""
    slowness: Slowness | None
    began: float
    seconds: dict[str, float] = {}
    """How long the last answered job of each kind took."""


def _no_answer(out: _Out) -> Outcome:
    """A sink that can be asked later may still get it there; nobody else's work is half done."""
    return NO_ANSWER if out.batch.slot is None else IN_DOUBT


def _end_slot(out: _Out) -> None:
    """All is settled that can be: the slot of the batch is free, or its sink is to be asked."""
    slots, slot = out.feed.slots, out.batch.slot
    if slots is None or slot is None:
        return
    outcomes = out.batch.outcomes()
    if any(outcome is None or isinstance(outcome, InDoubt) for outcome in outcomes):
        slots.doubt(slot)
    else:
        slots.give_back(slot, arrived=any(isinstance(o, Delivered) for o in outcomes))


class LeaseBook:
    """One lane's leases. Only the lane's own thread calls."""

    def __init__(
        self, table: JobTable, aside: Aside, settled: Callable[[Feed], None] = lambda feed: None
    ) -> None:
        """settled: told after leases of a feed were written."""
        self._table = table
        self._aside = aside
        self._settled = settled
        self._out: list[_Out] = []
        self._stuck: dict[int, tuple[Feed, Lease, Settlement]] = {}

    def __len__(self) -> int:
        return len(self._out)

    def add(self, feed: Feed, batch: Batch, leases: list[Lease], slowness: Slowness | None) -> None:
        """Take over the leased jobs of a batch that is out; `slowness` learns what they take."""
        if not leases:
            return
        places = {job.id: place for place, job in enumerate(batch.jobs)}
        leased = {places[lease.job.id]: lease for lease in leases}
        if batch.slot is not None:
            batch.slot.out = True
        self._out.append(_Out(feed, batch, leased, slowness, time.monotonic()))
        telemetry.leased.add(len(leases), {"route": feed.name})

    def settle_answered(self, connection: Connection) -> None:
        """Write what has been answered since the last call. Fenced: lost leases are left alone."""
        if self._stuck:
            self._try_stuck(connection)
        for out in list(self._out):
            overdue = out.batch.overdue
            if overdue:
                out.batch.abandon()
                log.warning(
                    "route %s: %d jobs were not answered by their deadline and are %s",
                    out.feed.name,
                    len(out.leases),
                    "handed back" if out.batch.slot is None else "in doubt: the sink is asked",
                )
            elif out.batch.unanswered == len(out.leases):
                continue
            outcomes = out.batch.outcomes()
            ready: list[tuple[int, Outcome]] = []
            for place in out.leases:
                outcome = outcomes[place]
                if outcome is None and overdue:
                    outcome = _no_answer(out)
                if outcome is not None:
                    ready.append((place, outcome))
            if ready:
                self._settle(connection, out, ready)
                seconds = time.monotonic() - out.began
                for place, _ in ready:
                    out.seconds[out.leases.pop(place).job.kind] = seconds
            if not out.leases:
                self._out.remove(out)
                _end_slot(out)
                if out.slowness is not None:
                    out.slowness.leased(out.seconds)

    def ids(self) -> set[int]:
        """The jobs that are leased here. Any thread may call."""
        # Each copy is made in one go; the lane's thread may change what it is made of meanwhile.
        out = [lease.job.id for out in list(self._out) for lease in list(out.leases.values())]
        return {*out, *list(self._stuck)}

    def hand_back(self, connection: Connection) -> int:
        """Release everything that is still out, attempts given back (T12); returns how many."""
        count = 0
        for out in self._out:
            out.batch.abandon()
            outcomes = out.batch.outcomes()
            # What was answered since the last look is settled, not handed back.
            ready = [(place, outcomes[place] or _no_answer(out)) for place in out.leases]
            self._settle(connection, out, ready)
            count += sum(outcome is NO_ANSWER for _, outcome in ready)
        self._out.clear()
        return count

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the oldest batch that is out."""
        if self._out:
            self._out[0].batch.wait(timeout)

    def _settle(self, connection: Connection, out: _Out, ready: list[tuple[int, Outcome]]) -> None:
        feed = out.feed
        rows: list[tuple[Lease, Settlement]] = []
        for place, outcome in ready:
            if isinstance(outcome, InDoubt):
                continue
            lease = out.leases[place]
            row = feed.settlement(lease.job, outcome)
            rows.append((lease, row if row is not None else released(lease.job)))
            telemetry.outcomes.add(
                1, {"route": feed.name, "outcome": type(outcome).__name__.lower()}
            )
        if not rows:
            return
        handed_over = out.batch.handed_over
        # What a function settled itself is completed, whatever became of the function then.
        states = dict.fromkeys(handed_over, JobState.COMPLETED)
        receipts = out.batch.take_receipts()
        states |= self._write(connection, feed, rows, handed_over, receipts)
        self._settled(feed)
        if out.batch.on_settled is not None:
            told = ((out.leases[place].job, outcome) for place, outcome in ready)
            out.batch.on_settled(
                [(job, outcome, states[job.id]) for job, outcome in told if job.id in states]
            )

    def _write(
        self,
        connection: Connection,
        feed: Feed,
        rows: list[tuple[Lease, Settlement]],
        handed_over: Collection[int] = (),
        receipts: Sequence[Receipt] = (),
    ) -> dict[int, JobState]:
        """Write what is still ours; returns what those rows got.

        handed_over: ids that are no surprise if they are not ours.
        """
        started = time.monotonic()
        ours: dict[int, JobState] = {}

        def write(items: Sequence[tuple[Lease, Settlement]]) -> None:
            ours.update(write_leased(connection, self._table, feed, items))

        with transaction(connection, idle=5.0, total=15.0):
            failed = by_halves(connection, rows, write)
            known = ours.keys() | {lease.job.id for (lease, _), _ in failed}
            missed = {
                lease.job.id: (lease, row) for lease, row in rows if lease.job.id not in known
            }
            held = self._table.still_leased(connection, [lease for lease, _ in missed.values()])
            write_receipts(connection, self._table, receipts)
        failed += [(missed[id_], UNTAKEN) for id_ in held]
        for (lease, row), reason in failed:
            self._aside.add(lease.job.id, feed, reason)
            self._stuck[lease.job.id] = (feed, lease, row)
        strayed = len(missed.keys() - held - set(handed_over))
        if strayed:
            log.warning(
                "route %s: %d leases were no longer ours (rescued, cancelled or deleted meanwhile) "
                "and were not settled",
                feed.name,
                strayed,
            )
        telemetry.settle_seconds.record(time.monotonic() - started, {"route": feed.name})
        return ours

    def _try_stuck(self, connection: Connection) -> None:
        """Leases that could not be written stay ours and `running`: try again after their rest."""
        resting = set(self._aside.ids())
        for id_, (feed, lease, row) in list(self._stuck.items()):
            if id_ not in resting:
                del self._stuck[id_]
                self._write(connection, feed, [(lease, row)])
