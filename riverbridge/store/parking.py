"""Jobs that are parked for a sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from riverbridge.sql import statement
from riverbridge.store.database import Connection


class Unparked(NamedTuple):
    """What became of one batch.

    held_back: nothing, as some of the batch before are still unclaimed.
    """

    held_back: bool
    ids: list[int]
    queues: list[str]


class ParkingTable:
    """Brings them forward."""

    def __init__(self, schema: str | None) -> None:
        self._unpark = statement("job/unpark", schema)

    def unpark(
        self,
        connection: Connection,
        *,
        sink: str,
        queues: Sequence[str],
        before: Sequence[int],
        sent: Sequence[int],
        limit: int,
    ) -> Unparked:
        """Make up to `limit` jobs of `queues` that are parked for `sink` available now.

        before: those of the last call; while one of them is unclaimed, nothing is done. sent: those
        that need not be claimed yet, as the sink's answer is still out.
        """
        parameters = {
            "sink": sink,
            "queues": list(queues),
            "before": list(before),
            "sent": list(sent),
            "limit": limit,
        }
        row = connection.execute(self._unpark, parameters, binary=True).fetchone()
        assert row is not None
        return Unparked(*row)
