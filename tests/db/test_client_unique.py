"""Unique jobs: one row whoever is first, and everybody gets it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import psycopg
import pytest

from riverbridge import (
    AsyncClient,
    Client,
    InsertManyParams,
    InsertOpts,
    InsertResult,
    JobState,
    UniqueOpts,
)
from tests.support.database import Database
from tests.support.jobs import add
from tests.support.running import at_once
from tests.support.witness import Witness

BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


def test_two_clients_that_race_get_one_row_a_hundred_times(
    tables: Database, witness: Witness
) -> None:
    results: list[list[InsertResult]] = [[], []]
    together = threading.Barrier(2, timeout=30)

    def insert(own: list[InsertResult]) -> None:
        with Client(tables.dsn) as client:
            for number in range(100):
                together.wait()
                own.append(client.insert(Placed(number), BY_ARGS))

    at_once(*(partial(insert, own) for own in results))
    assert [len(own) for own in results] == [100, 100]
    for mine, yours in zip(*results, strict=True):
        assert mine.job.id == yours.job.id
        skipped = {mine.unique_skipped_as_duplicate, yours.unique_skipped_as_duplicate}
        assert skipped == {True, False}
    assert witness.jobs() == 100


def test_equal_jobs_of_one_call_become_one_and_results_keep_their_order(
    tables: Database, witness: Witness
) -> None:
    numbers = [number % 1500 for number in range(2500)]
    jobs = [InsertManyParams(Placed(number), BY_ARGS) for number in numbers]
    jobs[7:7] = [InsertManyParams(Placed(3)), InsertManyParams(Placed(3))]
    with Client(tables.dsn) as client:
        results = client.insert_many(jobs)
    assert [result.job.args["order_id"] for result in results] == [
        *numbers[:7], 3, 3, *numbers[7:],
    ]  # fmt: skip
    assert [result.unique_skipped_as_duplicate for result in results] == (
        [False] * 1502 + [True] * 1000
    )
    assert results[1502].job == results[0].job
    assert len({results[at].job.id for at in (3, 7, 8)}) == 3, "the two others are not unique"
    assert witness.jobs() == 1502


def test_the_row_that_is_there_comes_back_whole_and_its_queue_is_announced(
    tables: Database, witness: Witness
) -> None:
    with Client(tables.dsn) as client:
        first = client.insert(Placed(1), BY_ARGS)
    witness.connection.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = '{me}',"
        " attempted_at = scheduled_at, metadata = '{\"b\": [1]}', tags = '{abc}'"
    )
    assert witness.heard() == ['{"queue": "default"}']
    with Client(tables.dsn) as client:
        again = client.insert(Placed(1), InsertOpts(priority=4, unique_opts=BY_ARGS.unique_opts))
    assert again.unique_skipped_as_duplicate
    assert again.unique_skipped_as_duplicated, "as the riverqueue package has it"
    job = again.job
    assert (job.id, job.state, job.attempt, job.priority) == (first.job.id, "running", 1, 1)
    assert (job.attempted_by, job.attempted_at) == (["me"], first.job.scheduled_at)
    assert (job.metadata, job.tags) == ({"b": [1]}, ["abc"])
    assert (job.unique_key, job.unique_states) == (first.job.unique_key, first.job.unique_states)
    assert witness.heard() == ['{"queue": "default"}'], "River announces a skipped duplicate, too"


@pytest.mark.parametrize(("state", "free"), [("completed", False), ("cancelled", True)])
def test_a_finished_job_keeps_its_key_or_frees_it(
    tables: Database, witness: Witness, state: str, free: bool
) -> None:
    with Client(tables.dsn) as client:
        client.insert(Placed(1), BY_ARGS)
        witness.connection.execute(
            "UPDATE river_job SET state = %s, finalized_at = now()", (JobState(state),)
        )
        assert client.insert(Placed(1), BY_ARGS).unique_skipped_as_duplicate is not free
        assert client.insert_many_fast([InsertManyParams(Placed(1), BY_ARGS), Placed(1)]) == 1
    assert witness.jobs() == (3 if free else 2)


def test_a_row_of_go_is_found_by_its_key(tables: Database, witness: Witness) -> None:
    """Vector 1 of the contract (4.6), whose key River's Go client computes."""
    key = "b3468e7afaccdad6a84c50b1de8c200d62d77ab258d840c1d4de1b23532e9fb3"
    id_ = add(
        witness.connection,
        kind="'charge'",
        unique_key=f"decode('{key}', 'hex')",
        unique_states="B'11110101'",
    )

    @dataclass
    class Charge:
        customer_id: str
        amount: float
        note: str
        kind: ClassVar[str] = "charge"

    with Client(tables.dsn) as client:
        found = client.insert(Charge("c1", 10.5, "x"), BY_ARGS)
    assert (found.job.id, found.unique_skipped_as_duplicate) == (id_, True)


def test_waiting_for_a_key_that_another_holds_ends_and_leaves_nothing(
    tables: Database, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.client.adapters.own.STATEMENT_LIMIT", 0.25)
    with Client(tables.dsn) as client, tables.connect(autocommit=False) as other:
        Client(other).insert_tx(other, Placed(1), BY_ARGS)
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.insert(Placed(1), BY_ARGS)
        with pytest.raises(psycopg.errors.QueryCanceled):
            asyncio.run(insert_from_asyncio(tables))
        other.rollback()
        assert client.insert(Placed(1), BY_ARGS).unique_skipped_as_duplicate is False
    assert witness.jobs() == 1


async def insert_from_asyncio(database: Database) -> None:
    async with AsyncClient(database.dsn) as client:
        await client.insert(Placed(1), BY_ARGS)
