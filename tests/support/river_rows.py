"""What River's rules make of a job's row (contract section 2), in plain Python: an oracle.

Written from the contract and not from our statements, so that the two can disagree. Instants are
not modelled but counted: how often `scheduled_at`, `attempted_at` and `finalized_at` were set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, assert_never

from riverbridge.model.outcome import (
    Cancelled,
    Completed,
    Delivered,
    InDoubt,
    Interrupted,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
    Withheld,
)

FINALIZED = frozenset({"cancelled", "completed", "discarded"})
AT_ONCE = 5.0
MARK, CONFLICT = "cancel_attempted_at", "unique_key_conflict"


@dataclass
class Row:
    """A job's row. due: whether its scheduled_at has passed. operated: an operator retried it, or a
    rescuer of River's that came too late; only then may it be tried more often than max_attempts.
    """

    id: int
    state: str
    max_attempts: int
    key: bytes | None = None
    mask: frozenset[str] = frozenset()
    due: bool = True
    attempt: int = 0
    owners: list[str] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    """The attempt that each of its errors names."""
    metadata: dict[str, Any] = field(default_factory=dict)
    attempted: int = 0
    scheduled: int = 0
    finalized: int = 0
    operated: bool = False
    lease: object = None
    """Who may settle it: the attempt that runs, by identity."""

    @property
    def holds_key(self) -> bool:
        """Whether no other row with its key may be as it is (contract 4.8)."""
        return self.key is not None and self.state in self.mask

    def claim(self, owner: str) -> object:
        """T4. The fence of this attempt."""
        assert self.state == "available"
        assert self.due
        self.attempt += 1
        self.attempted += 1
        self.owners = [*(self.owners[-99:] if len(self.owners) >= 100 else self.owners), owner]
        self.lease = object()
        self.state = "running"
        return self.lease

    def settle(self, outcome: Outcome) -> None:
        """T5 to T12, T24: the end of the attempt that runs."""
        assert self.state == "running"
        match outcome:
            case Delivered():
                self._finalize("completed")
            case Completed():
                self.metadata["note"] = 1
                self._finalize("completed")
            case Retry():
                assert outcome.delay is not None
                self.fail(outcome.delay)
            case Permanent():
                self._error()
                self._finalize("discarded")
            case Cancelled():
                self._error()
                self._finalize("cancelled")
            case Snoozed():
                self.metadata["snoozes"] = self.metadata.get("snoozes", 0) + 1
                self._put_off("scheduled", outcome.seconds, give_back=True)
            case Parked():
                self._put_off("scheduled", outcome.seconds, give_back=True)
            case Interrupted():
                self._put_off("scheduled", 0.0, give_back=True)
            case Unreachable() | Misconfigured() | Withheld() | InDoubt():
                self.release()
            case _:
                assert_never(outcome)

    def fail(self, delay: float) -> None:
        """T6 to T8 and T24: an error, and another attempt after `delay` seconds if one is left."""
        self._error()
        if self.attempt >= self.max_attempts:
            self._finalize("discarded")
        else:
            self._put_off("retryable", delay, give_back=False)

    def release(self) -> None:
        """A lease that is handed back: as T12, but the job keeps its place in the queue."""
        self.attempt -= 1
        self._enter("available")

    def rescue(self, delay: float) -> None:
        """T15 to T17, by our keeper: an error as any other, with a near retry made available."""
        self._rescued()
        if MARK in self.metadata:
            self._error()
            self._finalize("cancelled")
        else:
            self.fail(delay)

    def found_stuck(self) -> tuple[str, int]:
        """What River's rescuer decides when it finds the row (contract 7.2)."""
        if MARK in self.metadata:
            return "cancelled", self.attempt
        return "retryable" if self.attempt < self.max_attempts else "discarded", self.attempt

    def rescue_as_river(self, state: str, attempt: int) -> None:
        """T15 to T17, by River's rescuer: whatever the row has become meanwhile (contract 3.9)."""
        late = self.state != "running" or (state, attempt) != self.found_stuck()
        self.operated = self.operated or late
        self._rescued()
        self.errors.append(attempt)
        if state == "retryable":
            self.scheduled += 1
            self.due = False
            self._enter(state)
        else:
            self._finalize(state)

    def cancel(self) -> None:
        """T18 and T19, and nothing for what is finalized."""
        if self.state in FINALIZED:
            return
        self.metadata[MARK] = True
        if self.state != "running":
            self._finalize("cancelled")

    @property
    def retriable(self) -> bool:
        """Whether JobRetry does anything (contract 3.6)."""
        return self.state != "running" and not (self.state == "available" and self.due)

    def retry(self) -> None:
        """T20."""
        self.max_attempts += self.attempt == self.max_attempts
        self.operated = True
        self.scheduled += 1
        self.due = True
        self._enter("available")

    def schedule(self, *, superfluous: bool) -> None:
        """T13 and T14."""
        assert self.state in ("retryable", "scheduled")
        if superfluous:
            self.metadata[CONFLICT] = "scheduler_discarded"
            self._finalize("discarded")
        else:
            self._enter("available")

    def _put_off(self, state: str, delay: float, *, give_back: bool) -> None:
        """A later attempt; a job that is marked has none, unless it is at once (T24)."""
        if delay > AT_ONCE and MARK in self.metadata:
            self._finalize("cancelled")
            return
        self.attempt -= give_back
        self.scheduled += 1
        self.due = delay == 0
        self._enter("available" if delay <= AT_ONCE else state)

    def _error(self) -> None:
        self.errors.append(self.attempt)

    def _rescued(self) -> None:
        count = self.metadata.get("river:rescue_count", 0)
        self.metadata["river:rescue_count"] = count + 1

    def _finalize(self, state: str) -> None:
        self.finalized += 1
        self._enter(state)

    def _enter(self, state: str) -> None:
        self.state = state
        self.lease = None


def holder(rows: Iterable[Row], key: bytes, *, but: Row | None = None) -> Row | None:
    """The row that keeps others from having `key`."""
    return next((r for r in rows if r is not but and r.key == key and r.holds_key), None)


def superfluous(rows: Iterable[Row], due: Iterable[Row]) -> set[int]:
    """Of the `due` rows in River's order, those that the scheduler discards (contract 3.8)."""
    everyone, due = list(rows), [row for row in due if row.key is not None]
    taken = {r.key for r in due if r.key is not None and holder(everyone, r.key, but=r)}
    first = {row.key: row.id for row in reversed(due)}
    return {row.id for row in due if row.key in taken or first[row.key] != row.id}
