"""A program written for the `riverqueue` package, of which only the imports were changed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

import riverbridge as riverqueue
from riverbridge.driver import riversqlalchemy
from tests.support.connections import url
from tests.support.database import Database
from tests.support.witness import Witness


@dataclass
class ReportArgs:
    month: int

    kind: str = "report"

    def to_json(self) -> str:
        return json.dumps({"month": self.month})


ONCE = riverqueue.InsertOpts(unique_opts=riverqueue.UniqueOpts(by_period=900, by_queue=True))


def test_with_an_engine(tables: Database, witness: Witness) -> None:
    engine = sqlalchemy.create_engine(url(tables))
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    first = client.insert(ReportArgs(month=1), insert_opts=ONCE)
    again = client.insert(ReportArgs(month=2), insert_opts=ONCE)
    assert (first.unique_skipped_as_duplicated, again.unique_skipped_as_duplicated) == (False, True)
    assert again.job.args == {"month": 1}
    with engine.begin() as session:
        client.insert_tx(
            session, ReportArgs(month=3), insert_opts=riverqueue.InsertOpts(queue="other")
        )
    results = client.insert_many(
        [
            ReportArgs(month=4),
            riverqueue.InsertManyParams(
                ReportArgs(month=5), insert_opts=riverqueue.InsertOpts(max_attempts=5)
            ),
        ]
    )
    assert [result.job.max_attempts for result in results] == [25, 5]
    with engine.begin() as session:
        client.insert_many_tx(session, [ReportArgs(month=6)])
    assert witness.jobs() == 5
    engine.dispose()


def test_with_a_connection_whose_owner_commits(tables: Database, witness: Witness) -> None:
    engine = sqlalchemy.create_engine(url(tables))
    with engine.connect() as connection:
        client = riverqueue.Client(riversqlalchemy.Driver(connection))
        client.insert(ReportArgs(month=1))
        client.insert(ReportArgs(month=2))
        assert witness.jobs() == 0
        connection.commit()
        assert witness.jobs() == 2
        client.insert(ReportArgs(month=3))
        connection.rollback()
    assert witness.jobs() == 2
    engine.dispose()


def test_with_asyncio(tables: Database, witness: Witness) -> None:
    async def scenario() -> None:
        engine = create_async_engine(url(tables, "asyncpg"))
        client = riverqueue.AsyncClient(riversqlalchemy.AsyncDriver(engine))
        await client.insert(ReportArgs(month=1), insert_opts=ONCE)
        async with engine.begin() as session:
            result = await client.insert_tx(session, ReportArgs(month=2), insert_opts=ONCE)
        assert result.unique_skipped_as_duplicated
        await client.insert_many([ReportArgs(month=3), ReportArgs(month=4)])
        await engine.dispose()

    asyncio.run(scenario())
    assert witness.jobs() == 3
