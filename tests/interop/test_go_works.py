"""River's Go worker works what Python inserts, and is woken by it: it looks by itself only every 30
seconds."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from riverbridge import Client, InsertOpts
from riverbridge.bench.go_program import build
from riverbridge.bench.order import OrderPlaced, fields
from tests.support.async_connections import ASYNC
from tests.support.connections import SYNC, Awaited, Way, run
from tests.support.database import Database
from tests.support.parts import part
from tests.support.wait import eventually
from tests.support.witness import Witness

pytestmark = pytest.mark.go


class RolledBack(Exception):
    pass


class Worker:
    """River's worker of the queue `default`; `worked` grows by what it prints."""

    def __init__(self) -> None:
        self.worked: list[dict[str, Any]] = []

    def orders(self) -> list[int]:
        return sorted(job["args"]["order_id"] for job in self.worked)

    def read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.worked.append(json.loads(line))


class Orders:
    """Orders by number: those that are committed, and those that are rolled back."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.kept: list[int] = []
        self.dropped: list[int] = []

    def keep(self) -> OrderPlaced:
        return self._new(self.kept)

    def drop(self) -> OrderPlaced:
        return self._new(self.dropped)

    def _new(self, which: list[int]) -> OrderPlaced:
        order = OrderPlaced(**fields(next(self._numbers)))
        which.append(order.order_id)
        return order


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with part("go"):
        return build(tmp_path_factory.mktemp("worker") / "worker")


@contextmanager
def working(program: Path, database: Database) -> Iterator[Worker]:
    """A worker that listens, stopped cleanly at the end of the block."""
    worker = Worker()
    with subprocess.Popen(
        [program, "work", database.dsn, "default"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            first = process.stdout.readline()
            assert first == '"listening"\n', first or process.stderr.read()
            reader = threading.Thread(target=worker.read, args=(process,), daemon=True)
            reader.start()
            yield worker
            process.stdin.close()
            assert process.wait(timeout=20) == 0, process.stderr.read()
            reader.join(timeout=5)
        finally:
            process.kill()


async def insert(client: Awaited, new: Callable[[], OrderPlaced], *tx: Any) -> None:
    """By each method that inserts; in the caller's transaction where one is given."""
    way = "_tx" if tx else ""
    await getattr(client, f"insert{way}")(*tx, new())
    await getattr(client, f"insert_many{way}")(*tx, [new(), new()])
    await getattr(client, f"insert_many_fast{way}")(*tx, [new(), new()])


async def use(way: Way, database: Database, orders: Orders, witness: Witness) -> None:
    """Two clients: what one inserts is rolled back, what the other inserts is committed, by its own
    transactions and by the caller's. Each would announce the first of what it inserts."""
    async with way.given(database) as given:
        one, other = (Awaited(way.client(given)) for _ in range(2))
        with pytest.raises(RolledBack):
            await roll_back(way, database, one, orders)
        assert witness.heard() == [], way.name
        await insert(other, orders.keep)
        async with way.begun(database) as tx:
            await insert(other, orders.keep, tx)
        assert 2 <= len(heard := witness.heard()) <= 4, way.name
        assert set(heard) == {'{"queue": "default"}'}
        for client in (one, other):
            await client.close()


async def roll_back(way: Way, database: Database, client: Awaited, orders: Orders) -> None:
    async with way.begun(database) as tx:
        await insert(client, orders.drop, tx)
        raise RolledBack


@pytest.mark.timeout(600)
def test_a_go_worker_works_what_every_client_inserts_and_nothing_that_was_rolled_back(
    program: Path, database: Database
) -> None:
    orders, ways = Orders(), SYNC + ASYNC
    with database.connect() as observer, working(program, database) as worker:
        witness = Witness(observer)
        for way in ways:
            run(way, use(way, database, orders, witness))
        eventually(lambda: len(worker.worked) >= len(orders.kept), within=15)
        left = "SELECT state::text, attempt, count(*) FROM river_job GROUP BY 1, 2"
        done = [("completed", 1, len(orders.kept))]
        eventually(lambda: observer.execute(left).fetchall() == done)
    assert worker.orders() == orders.kept
    assert len(orders.dropped) == 5 * len(ways)
    assert worker.worked[0]["args"] == fields(worker.worked[0]["args"]["order_id"] - 10_000_000)


def test_a_go_worker_is_woken_at_once(program: Path, database: Database) -> None:
    """By clients of their own, as one announces a queue only once per 100 ms."""
    committed: dict[int, float] = {}
    with working(program, database) as worker:
        for number in range(31):
            with Client(database.dsn) as client:
                order = OrderPlaced(**fields(number))
                id_ = client.insert(order, InsertOpts(tags=["one", "two"])).job.id
                committed[id_] = time.monotonic()
            eventually(lambda: len(worker.worked) == len(committed), within=10, every=0.002)
    late = [job["at"] - committed[job["id"]] for job in worker.worked[1:]]
    assert statistics.median(late) < 0.020, sorted(late)
    assert all(job["tags"] == ["one", "two"] and job["metadata"] == "{}" for job in worker.worked)
