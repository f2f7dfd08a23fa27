"""Our worker in a process of its own, for the work bench.

`python -m riverbridge.bench.work_run MODE DSN FILE` works until SIGTERM, and then writes the number
of its calls to FILE. MODE is `drain`: async functions that do nothing else; `slow`: they take 2 s;
`leased`: these, and each job gets a row version of its own from the start; or `latency`: FILE gets
a line for each job instead, its id and when its function began (time.monotonic).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from pathlib import Path

from riverbridge import PoolOptions, QueueConfig, RunningJob, WorkerPool, Workers
from riverbridge.bench.ground import QUEUE
from riverbridge.bench.order import OrderPlaced
from riverbridge.service.process import tune, wait_for

AT_ONCE = 2000
"""Jobs at once; River Go has as many where it has the most."""

SLOW_AT_ONCE, SLOW = 500, 2.0
"""The same, and seconds, where jobs take their time."""


def main(mode: str, dsn: str, file: Path) -> None:
    """Work until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    slow = mode in ("slow", "leased")
    began: list[tuple[int, float]] = []
    workers = Workers()

    @workers.work(OrderPlaced)
    async def work(job: RunningJob[OrderPlaced]) -> None:
        began.append((job.id, time.monotonic()))
        if slow:
            await asyncio.sleep(SLOW)

    queues = {QUEUE: QueueConfig(max_workers=SLOW_AT_ONCE if slow else AT_ONCE)}
    options = PoolOptions(hold=0.0) if mode == "leased" else PoolOptions()
    with WorkerPool(dsn, workers, queues, options):
        tune()  # as `riverbridge work` does
        wait_for(stop)
    if mode == "latency":
        file.write_text("".join(f"{id_} {at!r}\n" for id_, at in began))
    else:
        file.write_text(json.dumps({"calls": len(began)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
