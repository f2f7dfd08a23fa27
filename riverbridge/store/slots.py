"""The slots of sinks that can be asked what arrived: whose each is, and its last batch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

from riverbridge.sql import statement
from riverbridge.store.database import Connection


class SlotRecord(msgspec.Struct, frozen=True):
    """A slot and the last batch that went out under it; no `leased_by` where that is settled.

    number: the batch's. known: the number of the one that was known to have arrived by then.
    alone: its one job was taken alone, to be charged if it kills the process.
    """

    id: str
    number: int
    known: int
    leased_by: str | None
    leased_at: datetime | None
    alone: bool
    jobs: list[int]


class SlotTable:
    """The table `riverbridge_slot`, as the process `owner` uses it for one sink."""

    def __init__(self, schema: str | None, *, owner: str, sink: str) -> None:
        self.sink = sink
        self.owner = owner
        self._sql = {
            name: statement(f"slot/{name}", schema)
            for name in ("take", "create", "book", "lock", "settled")
        }

    def take(
        self, connection: Connection, *, silence: float, wanted: int, held: Sequence[str]
    ) -> list[SlotRecord]:
        """Take over all slots of processes silent for so many seconds, and up to `wanted` that are
        nobody's. held: those that are ours, as far as we know; others of ours come too."""
        rows = connection.execute(
            self._sql["take"],
            {
                "owner": self.owner,
                "sink": self.sink,
                "silence": silence,
                "wanted": wanted,
                "held": list(held),
            },
        )
        return [SlotRecord(*row) for row in rows.fetchall()]

    def create(self, connection: Connection, count: int) -> list[SlotRecord]:
        """Make so many new ones, of names that no other database has."""
        if count <= 0:
            return []
        ids = [f"riverbridge-{self.sink}-{secrets.token_hex(8)}" for _ in range(count)]
        connection.execute(
            self._sql["create"], {"ids": ids, "sink": self.sink, "owner": self.owner}
        )
        return [SlotRecord(id_, 0, 0, None, None, False, []) for id_ in ids]

    def book(
        self,
        connection: Connection,
        id_: str,
        *,
        number: int,
        known: int,
        jobs: Sequence[int],
        alone: bool,
    ) -> bool:
        """Write a batch down, in the transaction that leases its jobs; False if the slot is not
        ours any more."""
        booked = connection.execute(
            self._sql["book"],
            {
                "id": id_,
                "owner": self.owner,
                "number": number,
                "known": known,
                "alone": alone,
                "jobs": list(jobs),
            },
        )
        return booked.rowcount == 1

    def lock(self, connection: Connection, id_: str) -> SlotRecord | None:
        """The slot, if it is still ours; nobody takes it over before the transaction ends."""
        row = connection.execute(self._sql["lock"], {"id": id_, "owner": self.owner}).fetchone()
        return None if row is None else SlotRecord(*row)

    def settled(self, connection: Connection, id_: str, *, number: int, keep: bool) -> None:
        """Its last batch is settled. keep: else it is nobody's from now on."""
        connection.execute(
            self._sql["settled"],
            {"id": id_, "owner": self.owner, "number": number, "keep": keep},
        )
