"""Indexes of River's tables, rebuilt without keeping anybody waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from riverbridge.sql import statement


class Index(NamedTuple):
    """An index by its name, in the schema of `river_job`.

    leftovers: what a rebuild that did not end has left of it.
    """

    name: str
    schema: str
    present: bool
    leftovers: Sequence[str]


def find(conn: psycopg.Connection, name: str, *, schema: str | None = None) -> Index | None:
    """The index `name` as it stands, or None if there is no such schema."""
    row = conn.execute(statement("index/state", schema), {"name": name}).fetchone()
    return None if row is None else Index(*row)


def rebuild(conn: psycopg.Connection, index: Index) -> None:
    """Build `index` anew beside itself. Not in a transaction; it can take hours."""
    name = sql.Identifier(index.schema, index.name)
    conn.execute(sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(name))


def drop_leftovers(conn: psycopg.Connection, index: Index) -> None:
    """Remove what an unfinished rebuild of `index` has left. Not in a transaction."""
    for leftover in index.leftovers:
        name = sql.Identifier(index.schema, leftover)
        conn.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))
