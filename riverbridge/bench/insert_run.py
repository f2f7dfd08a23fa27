"""One client of the insert bench, in a process of its own.

`python -m riverbridge.bench.insert_run CLIENT DSN METHOD` reads a number a line, inserts so many
jobs, and prints the seconds that the calls took, without the making of the jobs. River's own
program (tests/interop/worker) does the same.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from riverbridge.bench.order import OrderPlaced, fields
from riverbridge.client.client import Client

BATCH = 1000
"""Jobs of one call."""


@dataclasses.dataclass(frozen=True)
class Caller:
    """What is timed: `insert`, given `size` jobs a call, each made by `make` from its fields."""

    make: Callable[..., Any]
    insert: Callable[[Sequence[Any]], object]
    size: int = BATCH


@contextmanager
def riverbridge(dsn: str, method: str) -> Iterator[Caller]:
    """Our own client, on a connection of its own."""
    with Client(dsn) as client:
        match method:
            case "single":
                yield Caller(OrderPlaced, lambda jobs: client.insert(jobs[0]), size=1)
            case "fast":
                yield Caller(OrderPlaced, client.insert_many_fast)
            case _:
                yield Caller(OrderPlaced, client.insert_many)


@contextmanager
def riverqueue(dsn: str, _method: str) -> Iterator[Caller]:
    """River's own Python client, as its documentation sets it up: SQLAlchemy, here over psycopg."""
    import riverqueue
    import sqlalchemy
    from riverqueue.driver import riversqlalchemy

    class Order(OrderPlaced):
        def to_json(self) -> str:
            return json.dumps(vars(self))

    engine = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
    client = riverqueue.Client(riversqlalchemy.Driver(engine))
    yield Caller(Order, lambda jobs: client.insert_many(list(jobs)))
    engine.dispose()


CLIENTS = {"riverbridge": riverbridge, "riverqueue": riverqueue}


def main(client: str, dsn: str, method: str) -> None:
    """Insert what is asked for until there are no more lines."""
    with CLIENTS[client](dsn, method) as caller:
        first = 0
        for line in sys.stdin:
            took, last = 0.0, first + int(line)
            while first < last:
                numbers = range(first, min(first + caller.size, last))
                jobs = [caller.make(**fields(number)) for number in numbers]
                began = time.perf_counter()
                caller.insert(jobs)
                took += time.perf_counter() - began
                first = numbers.stop
            print(json.dumps({"seconds": took}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
