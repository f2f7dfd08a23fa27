"""Jobs and queues through every kind of connection an application may have: the same everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from riverbridge import AsyncClient, Job, JobConflict, JobListResult, JobNotFound, Queue
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Awaited, Way
from tests.support.database import Database
from tests.support.jobs import add

ODD = "50 % 'é' \\ \t$1 漢"
FILTERS: dict[str, Any] = {
    "ids": [1, 2, 3], "kinds": ["k", ODD], "priorities": [1, 2], "queues": ["q"],
    "states": ["available", "pending"], "tags_all": ["abc"], "tags_any": ["abc", ODD],
    "metadata": {"a": {ODD: [1.5, None]}},
}  # fmt: skip
CALLS: list[tuple[str, dict[str, Any], Any]] = [
    ("job_get", {"id": 1}, (1, "available")),
    ("job_update", {"id": 1, "output": {ODD: 1.5}}, (1, "available")),
    ("job_update", {"id": 2, "output": None}, (2, "available")),
    ("job_list", FILTERS, [(1, "available"), (3, "available")]),
    ("job_list", FILTERS | {"order_by": "time", "descending": True, "limit": 1},
     [(3, "available")]),
    ("job_list", {"states": ["running"]}, []),
    ("job_cancel", {"id": 1}, (1, "cancelled")),
    ("job_retry", {"id": 1}, (1, "available")),
    ("job_delete", {"id": 1}, (1, "available")),
    ("job_delete_many", {"ids": [2, 9], "kinds": ["k"]}, [(2, "available")]),
    ("queue_update", {"name": "q", "metadata": {ODD: "<&>"}}, ("q", False)),
    ("queue_pause", {"name": "*"}, None),
    ("queue_get", {"name": "q"}, ("q", True)),
    ("queue_resume", {"name": "q"}, None),
    ("queue_list", {"limit": 1}, [("q", False)]),
]  # fmt: skip


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        connection.execute('LISTEN "public.river_control"')
        yield connection


def fresh(look: psycopg.Connection[Any]) -> None:
    look.execute("TRUNCATE river_job, river_queue RESTART IDENTITY")
    for tags in ("'{abc}'", "'{}'", "'{abc}'"):
        add(look, tags=tags)
    metadata = Jsonb({"a": {ODD: [1.5, None]}})
    look.execute("UPDATE river_job SET metadata = %s WHERE id <> 2", (metadata,))
    look.execute(
        "INSERT INTO river_queue (name, created_at, metadata, updated_at)"
        " VALUES ('q', now(), '{}', now())"
    )


def outline(result: Any) -> Any:
    """What of a result is the same each time."""
    match result:
        case JobListResult(jobs=jobs):
            return outline(jobs)
        case list():
            return [outline(each) for each in result]
        case Job():
            return result.id, result.state.value
        case Queue():
            return result.name, result.paused_at is not None
    return result


async def call_all(client: Awaited, *tx: Any) -> None:
    for name, arguments, wanted in CALLS:
        method = getattr(client, f"{name}_tx" if tx else name)
        assert outline(await method(*tx, **arguments)) == wanted, name


def left(look: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return look.execute(
        "SELECT id, metadata, (SELECT metadata FROM river_queue) FROM river_job ORDER BY id"
    ).fetchall()


async def scenario(way: Way, database: Database, look: psycopg.Connection[Any]) -> None:
    wanted = [(3, {"a": {ODD: [1.5, None]}}, {ODD: "<&>"})]
    async with way.given(database) as given:
        client = Awaited(made := way.client(given))
        fresh(look)
        await call_all(client)
        assert left(look) == wanted
        fresh(look)
        async with way.begun(database) as tx:
            await call_all(client, tx)
            assert len(left(look)) == 3, "the caller has not committed"
        assert left(look) == wanted
        with pytest.raises(JobNotFound):
            await client.job_cancel(9)
        # An index of our own refuses what the statement does not look for beforehand.
        look.execute("CREATE UNIQUE INDEX one ON river_job (kind) WHERE state = 'available'")
        try:
            id = add(look, state="'cancelled'", finalized_at="now()")
            with pytest.raises(JobConflict) as caught:
                await client.job_retry(id)
            assert (caught.value.job_id, caught.value.holder_id) == (id, None)
        finally:
            look.execute("DROP INDEX one")
        assert outline(await client.job_retry(id)) == (id, "available")
        await Awaited(made).close()


@pytest.mark.parametrize("way", SYNC + ASYNC, ids=lambda way: way.name)
def test_every_operation_on_every_kind_of_connection(
    tables: Database, look: psycopg.Connection[Any], way: Way
) -> None:
    if way.client is AsyncClient:
        asyncio.run(scenario(way, tables, look))
        return
    # Without an event loop: Django refuses to work inside of one.
    with pytest.raises(StopIteration):
        scenario(way, tables, look).send(None)
