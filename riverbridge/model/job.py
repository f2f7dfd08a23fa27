"""Jobs as River keeps them, whole (`Job`) and as a lane needs them (`ClaimedJob`)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from riverbridge.model.instant import read_instant


class JobState(StrEnum):
    """River's eight states (contract section 2)."""

    AVAILABLE = "available"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    DISCARDED = "discarded"
    PENDING = "pending"
    RETRYABLE = "retryable"
    RUNNING = "running"
    SCHEDULED = "scheduled"


class AttemptError(msgspec.Struct, frozen=True):
    """One element of a job's `errors`, as River writes and reads it (contract 9.3)."""

    at: datetime
    attempt: int
    error: str
    trace: str = ""


class Job(msgspec.Struct, frozen=True, gc=False):
    """One row of `river_job`; instants are aware and in UTC."""

    id: int
    state: JobState
    attempt: int
    max_attempts: int
    kind: str
    queue: str
    priority: int
    args: dict[str, Any]
    metadata: dict[str, Any]
    tags: list[str]
    created_at: datetime
    scheduled_at: datetime
    attempted_at: datetime | None = None
    attempted_by: list[str] | None = None
    finalized_at: datetime | None = None
    errors: list[AttemptError] | None = None
    unique_key: bytes | None = None
    unique_states: list[JobState] | None = None


class ClaimedJob(msgspec.Struct, frozen=True, gc=False):
    """The columns a lane reads at the claim, in the statement's order.

    `args` and `metadata` are Postgres' own text of the jsonb and are not parsed: numbers, key order
    and spelling stay as they are. `attempt` is the row's value before this attempt.
    """

    id: int
    kind: str
    args: str
    metadata: str
    attempt: int
    max_attempts: int
    failures: int
    """How many errors the row holds; River's backoff counts these, not attempts (contract 9.1)."""
    priority: int
    queue: str
    tags: str
    """Joined by commas, which no tag may hold (contract 3.1)."""
    created: bytes
    due: bytes
    """Instants as Postgres sends them; ask for `created_at` and `scheduled_at`."""

    @property
    def created_at(self) -> datetime:
        return read_instant(self.created)

    @property
    def scheduled_at(self) -> datetime:
        return read_instant(self.due)
