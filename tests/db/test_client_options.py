"""What a client is made with: defaults, hooks, middleware, and how often it announces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import msgspec
import pytest

from riverbridge import (
    AsyncClient,
    Client,
    ClientError,
    InsertManyParams,
    InsertOpts,
    InsertResult,
    InvalidJob,
    NewJob,
)
from tests.support.database import Database
from tests.support.wait import eventually
from tests.support.witness import Witness

T = TypeVar("T")


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(priority=2)


def test_defaults_come_after_what_the_call_and_the_args_say(
    tables: Database, witness: Witness
) -> None:
    defaults = InsertOpts(max_attempts=9, priority=4, queue="outbox", tags=["abc"])
    with Client(tables.dsn, defaults=defaults) as client:
        job = client.insert(Placed(1)).job
        assert (job.max_attempts, job.priority, job.queue, job.tags) == (9, 2, "outbox", ["abc"])
        [result] = client.insert_many([InsertManyParams(Placed(1), InsertOpts(queue="other"))])
        assert (result.job.queue, result.job.max_attempts) == ("other", 9)


def test_options_go_by_the_names_of_the_riverqueue_package_too(
    tables: Database, witness: Witness
) -> None:
    late = InsertOpts(priority=4)
    with Client(tables.dsn) as client, tables.connect(autocommit=False) as tx:
        jobs = [
            client.insert(Placed(1), insert_opts=late).job,
            client.insert_tx(tx, Placed(2), insert_opts=late).job,
            client.insert_many([InsertManyParams(Placed(3), insert_opts=late)])[0].job,
        ]
        assert [job.priority for job in jobs] == [4, 4, 4]
        with pytest.raises(InvalidJob, match="give one of them"):
            client.insert(Placed(1), late, insert_opts=InsertOpts())


def marked(job: NewJob) -> NewJob | None:
    """A hook: orders above 10 are urgent, the others stay."""
    if msgspec.json.decode(job.args)["order_id"] <= 10:
        return None
    return msgspec.structs.replace(job, queue="urgent", metadata='{"by": "hook"}')


def test_a_hook_may_change_each_job(tables: Database, witness: Witness) -> None:
    with Client(tables.dsn, insert_hooks=[marked]) as client:
        few, many = (result.job for result in client.insert_many([Placed(1), Placed(11)]))
        assert client.insert_many_fast([Placed(12)]) == 1
    assert (few.queue, few.metadata) == ("default", {})
    assert (many.queue, many.metadata) == ("urgent", {"by": "hook"})
    assert set(witness.heard()) == {'{"queue": "default"}', '{"queue": "urgent"}'}


def test_a_hook_that_fails_or_changes_a_job_for_the_worse_stops_the_call(
    tables: Database, witness: Witness
) -> None:
    def refuse(job: NewJob) -> None:
        raise PermissionError(job.kind)

    def spoil(job: NewJob) -> NewJob:
        return msgspec.structs.replace(job, args='{}},{"kind": "smuggled"')

    with (
        Client(tables.dsn, insert_hooks=[marked, refuse]) as client,
        pytest.raises(PermissionError, match=r"order\.placed"),
    ):
        client.insert_many([Placed(1), Placed(2)])
    with (
        Client(tables.dsn, insert_hooks=[spoil]) as client,
        pytest.raises(InvalidJob, match="args: is not JSON"),
    ):
        client.insert(Placed(1))
    assert witness.jobs() == 0


class Around:
    """A middleware of either kind that writes down what it sees."""

    def __init__(self, name: str, seen: list[object]) -> None:
        self.name = name
        self.seen = seen

    def __call__(self, jobs: list[NewJob], insert: Callable[[list[NewJob]], T]) -> T:
        self.seen.append((self.name, [job.queue for job in jobs]))
        results = insert([msgspec.structs.replace(job, queue=self.name) for job in jobs])
        self.seen.append(results if isinstance(results, int) else "inserted")
        return results

    async def awaited(
        self, jobs: list[NewJob], insert: Callable[[list[NewJob]], Awaitable[T]]
    ) -> T:
        self.seen.append((self.name, [job.queue for job in jobs]))
        return await insert([msgspec.structs.replace(job, queue=self.name) for job in jobs])


def test_middleware_is_around_each_batch_the_first_outermost(
    tables: Database, witness: Witness
) -> None:
    seen: list[object] = []
    layers = [Around("outer", seen), Around("inner", seen)]
    with Client(tables.dsn, insert_middleware=layers) as client:
        assert client.insert(Placed(1)).job.queue == "inner"
        assert seen == [("outer", ["default"]), ("inner", ["outer"]), "inserted", "inserted"]
        seen.clear()
        assert client.insert_many_fast([Placed(2), Placed(3)]) == 2
        assert seen[2:] == [2, 2]
    assert witness.heard() == ['{"queue": "inner"}']


def test_middleware_of_an_async_client_is_awaited(tables: Database, witness: Witness) -> None:
    seen: list[object] = []
    layers = [Around("outer", seen).awaited, Around("inner", seen).awaited]

    async def insert() -> InsertResult:
        async with AsyncClient(tables.dsn, insert_middleware=layers) as client:
            return await client.insert(Placed(1))

    assert asyncio.run(insert()).job.queue == "inner"
    assert seen == [("outer", ["default"]), ("inner", ["outer"])]


def test_middleware_that_keeps_the_results_is_told_of(tables: Database, witness: Witness) -> None:
    def lazy(jobs: list[NewJob], insert: Callable[[list[NewJob]], object]) -> list[object]:
        return []

    broken: list[object] = [lazy]
    with (
        Client(tables.dsn, insert_middleware=broken) as client,  # type: ignore[arg-type]
        pytest.raises(ClientError, match="0 results for one job"),
    ):
        client.insert(Placed(1))


def test_a_queue_is_announced_once_per_pause_and_again_after_it(
    tables: Database, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(tables.dsn) as client:
        monkeypatch.setattr("riverbridge.client.announcing.PAUSE", 60.0)
        for _ in range(3):
            client.insert(Placed(1))
        client.insert(Placed(1), InsertOpts(queue="other"))
        assert witness.heard() == ['{"queue": "default"}', '{"queue": "other"}']
        monkeypatch.setattr("riverbridge.client.announcing.PAUSE", 0.02)

        def again() -> bool:
            client.insert(Placed(1))
            return witness.heard() == ['{"queue": "default"}']

        eventually(again)


def test_what_was_not_committed_does_not_count_as_announced(
    tables: Database, witness: Witness
) -> None:
    with Client(tables.dsn) as client:
        with tables.connect(autocommit=False) as tx:
            client.insert_tx(tx, Placed(1))
            tx.rollback()
        witness.connection.execute(
            "ALTER TABLE river_job ADD CONSTRAINT no CHECK (false) NOT VALID"
        )
        with pytest.raises(Exception, match="violates check constraint"):
            client.insert(Placed(1))
        witness.connection.execute("ALTER TABLE river_job DROP CONSTRAINT no")
        client.insert(Placed(1))
    assert witness.heard() == ['{"queue": "default"}']
