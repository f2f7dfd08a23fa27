"""River's one seat of leadership, the table `river_leader` (contract section 6).

A term is known by its leader's id and its exact `elected_at`. Every instant is the database's. The
functions run in the caller's transaction and raise what psycopg raises.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg

from riverbridge.sql import statement


class Seat(NamedTuple):
    """The row of `river_leader`: who leads, since when, and until when unless renewed."""

    leader_id: str
    elected_at: datetime
    expires_at: datetime


def elect(
    conn: psycopg.Connection, *, leader_id: str, ttl: timedelta, schema: str | None = None
) -> Seat | None:
    """Take the seat if it is empty or has expired; None while anyone holds it, oneself too."""
    return _seat(conn, "leader/elect", {"leader_id": leader_id, "ttl": ttl}, schema)


def reelect(
    conn: psycopg.Connection,
    *,
    leader_id: str,
    elected_at: datetime,
    ttl: timedelta,
    schema: str | None = None,
) -> Seat | None:
    """Prolong a term; None if it has expired, was taken over, or its row is gone."""
    values = {"leader_id": leader_id, "elected_at": elected_at, "ttl": ttl}
    return _seat(conn, "leader/reelect", values, schema)


def resign(
    conn: psycopg.Connection, *, leader_id: str, elected_at: datetime, schema: str | None = None
) -> bool:
    """Give up a term and tell the others on `river_leadership`; False if it was no longer held."""
    values = {"leader_id": leader_id, "elected_at": elected_at, "schema": schema or None}
    return conn.execute(statement("leader/resign", schema), values).rowcount == 1


def get(conn: psycopg.Connection, *, schema: str | None = None) -> Seat | None:
    """Who holds the seat, expired or not; None if nobody does."""
    return _seat(conn, "leader/get", {}, schema)


def _seat(
    conn: psycopg.Connection, name: str, values: dict[str, object], schema: str | None
) -> Seat | None:
    # Binary, so that `elected_at` comes back to the microsecond whatever the DateStyle.
    row = conn.cursor(binary=True).execute(statement(name, schema), values).fetchone()
    return None if row is None else Seat(*row)
