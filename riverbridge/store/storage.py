"""How large the tables are, what the vacuum has left to do, and what keeps it from doing it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from riverbridge.store.exchange import Exchange, Query


class Relation(msgspec.Struct, frozen=True):
    """A table, or an index of one (`table` names it). scans: of an index, since its counters began.
    valid: False for an index that was never finished."""

    name: str
    table: str | None
    size: int
    estimate: int
    live: int | None
    dead: int | None
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    scans: int | None
    valid: bool | None


class Holder(msgspec.Struct, frozen=True):
    """What keeps dead rows from being removed. seconds: since it began."""

    kind: str
    name: str
    seconds: float | None
    what: str | None


def relations(*, schema: str | None) -> Exchange[list[Relation]]:
    """River's tables, ours, and their indexes, the largest first."""
    rows = yield Query("storage/relations", {}, schema)
    return [Relation(*row) for row in rows]


def holders(*, schema: str | None) -> Exchange[list[Holder]]:
    """The oldest transactions and slots of this database, at most ten."""
    rows = yield Query("storage/oldest", {}, schema)
    return [Holder(*row) for row in rows]
