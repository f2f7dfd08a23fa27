"""Who works on a database: riverbridge's processes, others seen by their jobs, and the leader."""

from __future__ import annotations

from datetime import datetime

import msgspec

from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.leader import Seat

COUNTED = 10_000
"""Running jobs that are looked at."""


class WorkingProcess(msgspec.Struct, frozen=True):
    """A process. host and what follows: None for one that only its jobs tell of, such as Go's.
    silence: seconds since it was heard of. oldest: seconds that its oldest job has run."""

    id: str
    host: str | None
    pid: int | None
    version: str | None
    queues: list[str]
    started_at: datetime | None
    silence: float | None
    running: int
    oldest: float | None


def working_processes(*, schema: str | None) -> Exchange[list[WorkingProcess]]:
    """All of them, at most 1000."""
    rows = yield Query("process/list", {"limit": COUNTED}, schema)
    return [WorkingProcess(*row) for row in rows]


def leader_seat(*, schema: str | None) -> Exchange[Seat | None]:
    """Who leads, or whose term has run out; None if nobody does."""
    rows = yield Query("leader/get", {}, schema)
    return Seat(*rows[0]) if rows else None
