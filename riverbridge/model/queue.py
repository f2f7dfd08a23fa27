"""A queue as River keeps it: a row that its workers make and keep fresh."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Queue(msgspec.Struct, frozen=True):
    """One row of `river_queue`; instants are aware and in UTC.

    updated_at: when a worker of the queue last reported, or the row was last changed. River deletes
    a row that has not been updated for a day (contract 7.5).
    """

    name: str
    created_at: datetime
    metadata: dict[str, Any]
    paused_at: datetime | None
    updated_at: datetime
