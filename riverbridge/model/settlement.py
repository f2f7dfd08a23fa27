"""What an outcome does to its row: River's rules, as values (contract sections 2, 3.4 and 9.4)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import assert_never

import msgspec

from riverbridge.model.job import ClaimedJob, JobState
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
from riverbridge.model.retry import AT_ONCE, RetryPolicy
from riverbridge.model.text import error_text, trace_text

LAST_ATTEMPT = 32767
"""The column's largest value. A job there is worked once more and its number stays."""


_DIGITS = re.compile("-?[0-9]+")


class Settlement(msgspec.Struct, frozen=True):
    """One row to write.

    attempt: the number the row shall show; the attempt that ends now, or one less if given back.
    delay: seconds from the database's now to scheduled_at; None leaves it as it is.
    age: seconds since the job ended, if it did so under its row lock; a lease is settled at once.
    """

    id: int
    state: JobState
    attempt: int
    error: str | None = None
    delay: float | None = None
    metadata: str | None = None
    trace: str = ""
    age: float = 0.0


class Lease(msgspec.Struct, frozen=True):
    """A `running` row and what proves that it is still ours (the fence)."""

    job: ClaimedJob
    attempt: int
    owner: str
    claimed_at: datetime


def settlement(
    job: ClaimedJob, outcome: Outcome, *, retry: RetryPolicy, max_attempts: int | None = None
) -> Settlement | None:
    """The row `outcome` leaves, or None where the job is released as it was, or is in doubt.

    job: as claimed, its `attempt` being the one before this. max_attempts: the route's limit; the
    smaller of it and the row's counts.
    """
    attempt = min(job.attempt + 1, LAST_ATTEMPT)
    match outcome:
        case Delivered():
            return Settlement(job.id, JobState.COMPLETED, attempt)
        case Completed():
            done = JobState.COMPLETED
            return Settlement(job.id, done, attempt, metadata=outcome.metadata)
        case Retry():
            return _failed(job, outcome, attempt, retry, limit(job, max_attempts))
        case Permanent():
            error = error_text(outcome.error)
            return Settlement(job.id, JobState.DISCARDED, attempt, error, metadata=outcome.metadata)
        case Cancelled():
            return Settlement(
                job.id,
                JobState.CANCELLED,
                attempt,
                error_text(outcome.error),
                metadata=outcome.metadata,
                trace=trace_text(outcome.trace),
            )
        case Snoozed():
            state = JobState.AVAILABLE if outcome.seconds <= AT_ONCE else JobState.SCHEDULED
            counted = _one_more_snooze(job.metadata, outcome.metadata)
            return Settlement(job.id, state, job.attempt, None, outcome.seconds, counted)
        case Parked():
            why = error_text(outcome.error) if outcome.error else None
            seconds, noted = outcome.seconds, outcome.metadata
            return Settlement(job.id, JobState.SCHEDULED, job.attempt, why, seconds, noted)
        case Interrupted():
            back = JobState.AVAILABLE
            return Settlement(job.id, back, job.attempt, None, 0.0, outcome.metadata)
        case Unreachable() | Misconfigured() | Withheld() | InDoubt():
            return None
        case _:
            assert_never(outcome)


def _failed(
    job: ClaimedJob, outcome: Retry, attempt: int, retry: RetryPolicy, last: int
) -> Settlement:
    """T6 to T8: again later, or discarded if this was the last attempt."""
    row = Settlement(
        job.id,
        JobState.DISCARDED,
        attempt,
        error_text(outcome.error),
        metadata=outcome.metadata,
        trace=trace_text(outcome.trace),
    )
    if attempt >= last:
        return row
    # A policy of the application may say it in whole seconds, and psycopg takes no mixed lists.
    delay = float(retry.delay(job.failures) if outcome.delay is None else outcome.delay)
    delay = max(delay, outcome.after)
    state = JobState.AVAILABLE if delay <= AT_ONCE else JobState.RETRYABLE
    return msgspec.structs.replace(row, state=state, delay=delay)


def limit(job: ClaimedJob, max_attempts: int | None) -> int:
    """The attempt at which a failure discards the job."""
    return job.max_attempts if max_attempts is None else min(job.max_attempts, max_attempts)


def released(job: ClaimedJob) -> Settlement:
    """A lease handed back as if it had not been taken: its attempt is given back (T12)."""
    return Settlement(job.id, JobState.AVAILABLE, job.attempt)


def _one_more_snooze(metadata: str, merged: str | None) -> str:
    """What is merged: `merged`, the text of an object, and the number of snoozes with this one."""
    try:
        known = msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])
        snoozes = _whole(msgspec.json.decode(known["snoozes"]))
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError):
        snoozes = 0
    before = "{" if merged is None or merged == "{}" else f"{merged[:-1]}, "
    return f'{before}"snoozes": {snoozes + 1}}}'


def _whole(value: object) -> int:
    """What River reads as a whole number (contract 9.4); past 64 bits, where it wraps around, 0."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, int | float) and abs(value) < 2**63 - 1:
        return int(value)
    return 0
