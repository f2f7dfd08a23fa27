"""Another queue's worker, set up as its own pages say; run by a Python that has it installed.

`python -P work_peer.py QUEUE fill DSN` makes its tables and inserts a job for each line of standard
input, args in JSON. `… QUEUE work DSN FILE WIDTH BATCH` runs its worker until SIGTERM, with an
asynchronous job function that only counts its calls, and writes the count to FILE. It imports
nothing of riverbridge, whose other dependencies need not be there.

QUEUE is pgqueuer-asyncpg, pgqueuer-psycopg, oban or procrastinate. WIDTH is how many consumers
(pgqueuer) or jobs at once (the others) the process has, BATCH how many jobs pgqueuer claims.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

KIND = "order.placed"
QUEUE = "bench"
AT_ONCE = 1000
"""Jobs of one insert."""

_calls = 0


def _called() -> None:
    global _calls
    _calls += 1


@asynccontextmanager
async def _pgqueuer_driver(name: str, dsn: str) -> AsyncIterator[Any]:
    """A connection for each manager, as docs/guides/performance-tuning.md advises."""
    if name == "pgqueuer-asyncpg":
        import asyncpg
        from pgqueuer.db import AsyncpgDriver

        asyncpg_connection = await asyncpg.connect(dsn)
        yield AsyncpgDriver(asyncpg_connection)
        await asyncpg_connection.close()
    else:
        import psycopg
        from pgqueuer.db import PsycopgDriver

        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            yield PsycopgDriver(connection)


async def pgqueuer_fill(name: str, dsn: str, batches: Iterator[Sequence[str]]) -> None:
    from pgqueuer.queries import Queries

    async with _pgqueuer_driver(name, dsn) as driver:
        queries = Queries(driver)
        await queries.install()
        await queries.optimize_autovacuum()  # `pgq autovac`
        for lines in batches:
            count = len(lines)
            await queries.enqueue([KIND] * count, [line.encode() for line in lines], [0] * count)


async def pgqueuer_work(
    name: str, dsn: str, stop: asyncio.Event, consumers: int, batch: int
) -> None:
    from pgqueuer import PgQueuer

    async with AsyncExitStack() as stack:
        queuers = []
        for _ in range(consumers):
            queuer = PgQueuer(await stack.enter_async_context(_pgqueuer_driver(name, dsn)))

            @queuer.entrypoint(KIND)  # type: ignore[untyped-decorator]
            async def handle(job: Any) -> None:
                _called()

            queuers.append(queuer)
        running = [asyncio.create_task(queuer.run(batch_size=batch)) for queuer in queuers]
        await stop.wait()
        for queuer in queuers:
            queuer.shutdown.set()
        await asyncio.gather(*running)


def _oban_worker() -> Any:
    from oban import worker

    @worker(queue=QUEUE)
    class Order:
        async def process(self, job: Any) -> None:
            _called()

    return Order


async def oban_fill(_name: str, dsn: str, batches: Iterator[Sequence[str]]) -> None:
    from oban import Oban
    from oban.schema import install

    pool = await Oban.create_pool(dsn)
    await install(pool)
    oban = Oban(pool=pool)
    order = _oban_worker()
    for lines in batches:
        await oban.enqueue_many([order.new(json.loads(line)) for line in lines])
    await pool.close()


async def oban_work(_name: str, dsn: str, stop: asyncio.Event, limit: int, _batch: int) -> None:
    import orjson
    from oban import Oban
    from psycopg.types.json import set_json_dumps, set_json_loads

    set_json_dumps(orjson.dumps)  # as `oban start` does
    set_json_loads(orjson.loads)
    _oban_worker()
    pool = await Oban.create_pool(dsn)
    async with Oban(pool=pool, queues={QUEUE: limit}):
        await stop.wait()
    await pool.close()


def _procrastinate_app(dsn: str) -> tuple[Any, Any]:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name=KIND, queue=QUEUE)  # type: ignore[untyped-decorator]
    async def order(**_args: Any) -> None:
        _called()

    return app, order


async def procrastinate_fill(_name: str, dsn: str, batches: Iterator[Sequence[str]]) -> None:
    app, order = _procrastinate_app(dsn)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for lines in batches:
            await order.batch_defer_async(*map(json.loads, lines))


async def procrastinate_work(
    _name: str, dsn: str, stop: asyncio.Event, concurrency: int, _batch: int
) -> None:
    app, _ = _procrastinate_app(dsn)
    async with app.open_async():
        # It ends by SIGTERM, for which it has a handler of its own.
        await app.run_worker_async(queues=[QUEUE], concurrency=concurrency)


Fill = Callable[[str, str, Iterator[Sequence[str]]], Coroutine[Any, Any, None]]
Work = Callable[[str, str, asyncio.Event, int, int], Coroutine[Any, Any, None]]
QUEUES: dict[str, tuple[Fill, Work]] = {
    "pgqueuer": (pgqueuer_fill, pgqueuer_work),
    "oban": (oban_fill, oban_work),
    "procrastinate": (procrastinate_fill, procrastinate_work),
}


def _batches() -> Iterator[Sequence[str]]:
    lines = sys.stdin.read().splitlines()
    for first in range(0, len(lines), AT_ONCE):
        yield lines[first : first + AT_ONCE]


async def _until_sigterm(work: Work, name: str, dsn: str, width: int, batch: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await work(name, dsn, stop, width, batch)


def main(name: str, verb: str, dsn: str, *rest: str) -> None:
    """See above. procrastinate's own command runs on asyncio, those of the others on uvloop."""
    fill, work = QUEUES[name.partition("-")[0]]
    if name == "procrastinate":
        run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    else:
        import uvloop

        run = uvloop.run
    if verb == "fill":
        run(fill(name, dsn, _batches()))
    else:
        file, width, batch = rest
        run(_until_sigterm(work, name, dsn, int(width), int(batch)))
        Path(file).write_text(json.dumps({"calls": _calls}))


if __name__ == "__main__":
    main(*sys.argv[1:])
