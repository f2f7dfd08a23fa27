"""The clients on every kind of connection an application may have: the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from riverbridge import InsertManyParams, InsertOpts, JobState, UniqueOpts
from riverbridge.model.job import Job
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Awaited, Way, run
from tests.support.database import Database
from tests.support.wait import eventually
from tests.support.witness import Witness

ONCE = InsertOpts(unique_opts=UniqueOpts(by_args=True), queue="once")
WHEN = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
LATER = InsertOpts(scheduled_at=WHEN, tags=["abc", "null"], metadata={"a": [1.5, None, "ü\t\\"]})


@dataclass
class Placed:
    order_id: int
    note: str = "50 % off:\t'é' \\ \n$1"
    kind: ClassVar[str] = "order.placed"


class RolledBack(Exception):
    pass


def rows(witness: Witness) -> list[tuple[Any, ...]]:
    return witness.connection.execute(
        "SELECT (args ->> 'order_id')::int, args ->> 'note', state, queue, tags, metadata"
        " FROM river_job ORDER BY id"
    ).fetchall()


def expected(number: int, **changes: Any) -> tuple[Any, ...]:
    known = {"state": "available", "queue": "default", "tags": [], "metadata": {}} | changes
    return number, Placed(1).note, *known.values()


async def insert_all(client: Awaited, *tx: Any) -> None:
    """Through every method that inserts, `_tx` where a transaction is given."""
    way = "_tx" if tx else ""
    insert, many, fast = (
        getattr(client, name + way) for name in ("insert", "insert_many", "insert_many_fast")
    )
    job: Job = (await insert(*tx, Placed(1))).job
    assert (job.args["order_id"], job.args["note"]) == (1, Placed(1).note)
    assert job.created_at.tzinfo is UTC
    first, twin, later = await many(
        *tx,
        [
            InsertManyParams(Placed(2), ONCE),
            InsertManyParams(Placed(2), ONCE),
            InsertManyParams(Placed(3), LATER),
        ],
    )
    assert (first.job, False, True) == (
        twin.job,
        first.unique_skipped_as_duplicate,
        twin.unique_skipped_as_duplicate,
    )
    assert first.job.unique_states is not None
    assert (later.job.scheduled_at, later.job.state) == (WHEN, JobState.SCHEDULED)
    assert (later.job.tags, later.job.metadata) == (["abc", "null"], LATER.metadata)
    assert await fast(*tx, [Placed(4), InsertManyParams(Placed(5), LATER)]) == 2
    assert await fast(*tx, [InsertManyParams(Placed(2), ONCE), Placed(6)]) == 1


INSERTED = [
    expected(1),
    expected(2, queue="once"),
    expected(3, state="scheduled", tags=["abc", "null"], metadata=LATER.metadata),
    expected(4),
    expected(5, state="scheduled", tags=["abc", "null"], metadata=LATER.metadata),
    expected(6),
]


async def roll_back(way: Way, database: Database, client: Awaited) -> None:
    async with way.begun(database) as tx:
        await insert_all(client, tx)
        raise RolledBack


async def scenario(way: Way, database: Database, witness: Witness) -> None:
    async with way.given(database) as given:
        client = Awaited(made := way.client(given))
        await insert_all(client)
        assert rows(witness) == INSERTED
        assert set(witness.heard()) == {'{"queue": "default"}', '{"queue": "once"}'}
        witness.connection.execute("TRUNCATE river_job")
        async with way.begun(database) as tx:
            await insert_all(client, tx)
            assert rows(witness) == [], "the caller has not committed"
        assert rows(witness) == INSERTED
        assert sorted(witness.heard()) == ['{"queue": "default"}', '{"queue": "once"}']
        witness.connection.execute("TRUNCATE river_job")
        with pytest.raises(RolledBack):
            await roll_back(way, database, client)
        assert rows(witness) == []
        assert witness.heard() == []
        await Awaited(made).close()


@pytest.fixture(autouse=True)
def announced_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification that is not there would otherwise be one that was not due yet."""
    monkeypatch.setattr("riverbridge.client.announcing.PAUSE", -1.0)


@pytest.mark.parametrize("way", SYNC + ASYNC, ids=lambda way: way.name)
def test_jobs_are_inserted_announced_and_rolled_back(
    tables: Database, witness: Witness, way: Way
) -> None:
    run(way, scenario(way, tables, witness))
    eventually(lambda: witness.others() == 0)
