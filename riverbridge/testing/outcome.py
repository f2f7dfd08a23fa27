"""What became of jobs that a test worked, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from riverbridge.model.job import Job, JobState
from riverbridge.worker.events import EventKind


@dataclass(frozen=True)
class WorkResult:
    """One attempt. event: what a subscriber would be told. job: the row as it stands now.

    error: what the attempt failed with; None for a snooze or a cancel, which are no errors.
    """

    event: EventKind
    job: Job
    error: BaseException | None = None

    def __repr__(self) -> str:
        error = "" if self.error is None else f", error={self.error!r}"
        job = f"job {self.job.id} {self.job.kind!r}: {self.job.state}"
        return f"<WorkResult {self.event}, {job}, attempt {self.job.attempt}{error}>"


@dataclass(frozen=True)
class Drained:
    """How many jobs ended how, and each of them in order; the numbers alone make two of them equal.

    failed: those that will be tried again. discarded: those whose last attempt it was.
    """

    completed: int = 0
    failed: int = 0
    discarded: int = 0
    cancelled: int = 0
    snoozed: int = 0
    results: Sequence[WorkResult] = field(default=(), compare=False)


_COUNTED = {
    EventKind.JOB_COMPLETED: "completed",
    EventKind.JOB_FAILED: "failed",
    EventKind.JOB_CANCELLED: "cancelled",
    EventKind.JOB_SNOOZED: "snoozed",
}


def counted(results: Sequence[WorkResult]) -> Drained:
    """The sums of `results`."""
    sums: Counter[str] = Counter()
    for each in results:
        lost = each.event is EventKind.JOB_FAILED and each.job.state is JobState.DISCARDED
        sums["discarded" if lost else _COUNTED[each.event]] += 1
    return Drained(results=tuple(results), **sums)
