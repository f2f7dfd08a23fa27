"""Jobs, feeds and takers for tests: made up, or as rows of a real table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from riverbridge.engine.batch import Batch, Feed
from riverbridge.model.instant import write_instant
from riverbridge.model.job import ClaimedJob
from riverbridge.model.retry import RiverRetry
from riverbridge.store.jobs import EVERYTHING, JobTable

EVERY_FLOOR = [EVERYTHING] * 4

A_JOB = ClaimedJob(
    id=1,
    kind="order.placed",
    args='{"a": 1}',
    metadata="{}",
    attempt=0,
    max_attempts=25,
    failures=0,
    priority=1,
    queue="q",
    tags="",
    created=write_instant(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    due=write_instant(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
)


def job(**changes: Any) -> ClaimedJob:
    """A claimed job that differs from `A_JOB` by `changes`; its instants may be datetimes."""
    for given, name in (("created_at", "created"), ("scheduled_at", "due")):
        if given in changes:
            changes[name] = write_instant(changes.pop(given))
    return msgspec.structs.replace(A_JOB, **changes)


class ATaker:
    """A taker with as much room as it is told; hands each batch to `answer`."""

    def __init__(self, answer: Callable[[Batch], None] = lambda batch: None) -> None:
        self.free = 1000
        self.batches: list[Batch] = []
        self.answer = answer

    def room(self) -> int:
        return self.free

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.answer(batch)


def feed(name: str = "a", queue: str = "q", **changes: Any) -> Feed:
    """A feed with a taker of its own."""
    given: dict[str, Any] = {"taker": ATaker(), "retry": RiverRetry()} | changes
    return Feed(name, queue, **given)


def add(connection: psycopg.Connection[Any], **columns: Any) -> int:
    """Insert one row; every value is SQL text, as in state="'running'". Returns its id."""
    given = {
        "args": "'{}'",
        "kind": "'k'",
        "max_attempts": "25",
        "queue": "'q'",
        "state": "'available'",
    } | columns
    row = connection.execute(
        f"INSERT INTO river_job ({', '.join(given)}) VALUES ({', '.join(given.values())})"
        " RETURNING id".encode()
    ).fetchone()
    assert row is not None
    return int(row[0])


def fill(connection: psycopg.Connection[Any], count: int, **columns: Any) -> None:
    """Insert `count` rows; values are SQL text and may use `n`, from 1 on."""
    given = {
        "args": "'{}'",
        "kind": "'k'",
        "max_attempts": "25",
        "queue": "'q'",
        "state": "'available'",
    } | columns
    connection.execute(
        f"INSERT INTO river_job ({', '.join(given)}) SELECT {', '.join(given.values())}"
        f" FROM generate_series(1, {count}) AS n".encode()
    )


def claim(table: JobTable, connection: psycopg.Connection[Any], **changes: Any) -> list[ClaimedJob]:
    """Claim from queue `q`, everything unless `changes` say otherwise."""
    given: dict[str, Any] = {
        "queue": "q",
        "kinds": ["%"],
        "taken": True,
        "floors": EVERY_FLOOR,
        "aside": [],
        "limit": 100,
        "byte_budget": 1 << 30,
    } | changes
    return table.claim(connection, **given)


def row(connection: psycopg.Connection[Any], id_: int) -> dict[str, Any]:
    """A row of `river_job`, by column."""
    cursor = connection.execute("SELECT * FROM river_job WHERE id = %s", (id_,))
    found = cursor.fetchone()
    assert found is not None, f"job {id_} is gone"
    assert cursor.description is not None
    return {column.name: value for column, value in zip(cursor.description, found, strict=True)}
