"""The database's clock; every instant of a row is by it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query


def server_now() -> Exchange[datetime]:
    """When the transaction began, in UTC."""
    ((instant,),) = yield Query("transaction/now")
    found: datetime = instant
    return found.astimezone(UTC)


def database_now(connection: psycopg.Connection[Any]) -> datetime:
    """As `server_now`, asked on a connection at once."""
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        row = cursor.execute(statement("transaction/now")).fetchone()
    assert row is not None  # the statement always returns a row
    instant: datetime = row[0]
    return instant.astimezone(UTC)
