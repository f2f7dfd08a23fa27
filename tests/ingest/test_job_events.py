"""What becomes of jobs, as jobs: each once, and never about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from riverbridge.bridge.intake import Intake
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.sources.postgres_jobs import ABOUT, JobTable
from tests.ingest.rows import positions
from tests.ingest.slots import Shop
from tests.support.database import Database
from tests.support.wait import eventually

TELLER = partial(JobTable, states=("completed", "cancelled", "discarded"))


class Pool(Shop):
    """River's tables, and sources over them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.tables = ("river_job",)

    def insert(self, kind: str, args: str = "{}") -> int:
        [(id_,)] = self.run(
            "INSERT INTO river_job (kind, args, max_attempts, state, attempt)"
            f" VALUES ('{kind}', '{args}', 3, 'running', 1) RETURNING id"
        )
        return int(id_)

    def end(self, id_: int, state: str) -> None:
        self.run(f"UPDATE river_job SET state = '{state}', finalized_at = now() WHERE id = {id_}")

    def events(self, kind: str = "job_event") -> list[Any]:
        rows = self.run(f"SELECT args FROM river_job WHERE kind = '{kind}' ORDER BY id")
        return [args for (args,) in rows]


@pytest.fixture
def pool(tables: Database) -> Iterator[Pool]:
    pool = Pool(tables)
    try:
        yield pool
    finally:
        pool.drop_slot()
        pool.run(f"DROP PUBLICATION IF EXISTS {pool.publication}")


def intake(kind: str = "job_event") -> Intake:
    return Intake(Mapper("events", Plan(kind=kind, tags=(ABOUT,))))


def test_each_end_of_a_job_is_one_event_and_an_event_is_none(pool: Pool) -> None:
    with pool.receiving(intake(), teller=TELLER):
        eventually(lambda: positions(pool.database), within=20)
        jobs = {state: pool.insert("order.paid") for state in
                ("completed", "cancelled", "discarded")}  # fmt: skip
        for state, id_ in jobs.items():
            pool.end(id_, state)
            pool.run(f"UPDATE river_job SET metadata = '{{}}' WHERE id = {id_}")  # touched again
        eventually(lambda: len(pool.events()) == 3, within=20)
        pool.run(
            "UPDATE river_job SET state = 'completed', finalized_at = now()"
            " WHERE kind = 'job_event'"
        )
        last = pool.insert("order.last")
        pool.end(last, "completed")
        eventually(lambda: len(pool.events()) == 4, within=20)
    told = [(event["event"], event["job"]["id"]) for event in pool.events()]
    assert told == [*jobs.items(), ("completed", last)]
    assert pool.events()[0]["job"]["kind"] == "order.paid"
    assert len(pool.events()) == 4


def test_large_columns_that_were_not_touched_do_no_harm(pool: Pool) -> None:
    pool.run("ALTER TABLE river_job ALTER args SET STORAGE EXTERNAL")
    with pool.receiving(intake(), teller=TELLER):
        eventually(lambda: positions(pool.database), within=20)
        id_ = pool.insert("big.job", '{"a": "' + "x" * 10_000 + '"}')
        pool.end(id_, "discarded")
        eventually(lambda: pool.events(), within=20)
    [event] = pool.events()
    assert event["job"]["id"] == id_
    assert "args" not in event["job"]
