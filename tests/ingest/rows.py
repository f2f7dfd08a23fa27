"""What ingest left in the database."""

from __future__ import annotations

from collections import Counter
from typing import Any

from riverbridge.store import ingest
from riverbridge.store.ingest import Quarantined
from tests.support.database import Database


def args_of(database: Database) -> list[Any]:
    """The args of all jobs, in the order of their ids."""
    with database.connect() as connection:
        return [args for (args,) in connection.execute("SELECT args FROM river_job ORDER BY id")]


def numbers(database: Database) -> Counter[int]:
    """How often each `n` is in the args of a job."""
    return Counter(args["n"] for args in args_of(database))


def positions(database: Database, source: str = "events") -> dict[str, str]:
    with database.connect() as connection:
        return ingest.positions(connection, source)


def quarantined(database: Database) -> list[Quarantined]:
    with database.connect() as connection:
        return ingest.quarantined(connection)


def in_quarantine(database: Database) -> int:
    """How many events lie there; `quarantined` gives a hundred of them."""
    with database.connect() as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM riverbridge_quarantine").fetchall()
    return int(count)
