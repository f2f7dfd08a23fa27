"""What the tables take up, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.templating import count, duration, size
from riverbridge.store.storage import Holder, Relation, holders, relations

DEAD_SHARE = 0.2
DEAD_LEAST = 50_000
OLD = 600.0
"""Seconds after which an open transaction is worth a word."""

STALE = 86400.0


class Table(NamedTuple):
    """A table with its indexes."""

    itself: Relation
    indexes: list[Relation]

    @property
    def total(self) -> int:
        """Bytes of all."""
        return self.itself.size + sum(index.size for index in self.indexes)


def storage(request: Request, ground: Ground) -> Response:
    """The tables, the largest first."""
    schema = ground.database(request).schema
    found = ground.read(request, relations(schema=schema))
    held = ground.read(request, holders(schema=schema))
    tables = tables_of(found)
    return ground.render(
        request,
        "storage.html",
        tables=tables,
        held=held,
        advice=list(advice(tables, held, ground.clock())),
        total=sum(table.total for table in tables),
    )


def tables_of(found: Sequence[Relation]) -> list[Table]:
    """The tables with their indexes, the largest first."""
    tables = [
        Table(table, [index for index in found if index.table == table.name])
        for table in found
        if table.table is None
    ]
    return sorted(tables, key=lambda table: table.total, reverse=True)


def advice(tables: Sequence[Table], held: Sequence[Holder], now: datetime) -> Iterator[str]:
    """What somebody should do, a sentence each."""
    for holder in held:
        if holder.kind == "transaction" and (holder.seconds or 0) > OLD:
            yield (
                f"{holder.name} has a transaction open for {duration(holder.seconds)} "
                f"({holder.what}): until it ends no dead row can be removed, and claims slow down. "
                "End it, or set idle_in_transaction_session_timeout."
            )
        elif holder.kind == "replication slot" and "inactive" in (holder.what or ""):
            yield (
                f"replication slot {holder.name} is inactive and keeps old rows and WAL: drop it "
                "if nobody will read from it again."
            )
    for table in tables:
        yield from _of_table(table, now)


def _of_table(table: Table, now: datetime) -> Iterator[str]:
    itself = table.itself
    live, dead = itself.live or 0, itself.dead or 0
    if dead > DEAD_LEAST and dead > DEAD_SHARE * live:
        yield (
            f"{itself.name} has {count(dead)} dead rows beside {count(live)} live ones: the vacuum "
            "does not keep up. Lower autovacuum_vacuum_scale_factor of this table, or raise "
            "autovacuum_vacuum_cost_limit."
        )
    analyzed = itself.analyzed_at
    if itself.estimate > 10_000 and (
        analyzed is None or (now - analyzed).total_seconds() > STALE * 7
    ):
        yield f"{itself.name} was not analyzed for a week: run ANALYZE {itself.name}."
    for index in table.indexes:
        if index.valid is False:
            yield (
                f"index {index.name} is not valid: a REINDEX was broken off. Drop it and build it "
                "anew, concurrently."
            )
        elif index.size > 4 * max(itself.size, 64 << 20):
            yield (
                f"index {index.name} takes {size(index.size)}, more than four times its table: "
                f"REINDEX INDEX CONCURRENTLY {index.name}."
            )


PAGES = (Page("/storage", storage, Role.VIEWER),)
