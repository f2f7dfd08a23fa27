"""The demo's worker in Python: takes the orders that came back from Kafka as jobs.

`riverbridge work riverbridge.demo.worker:workers --queue received_north=100`
"""

from __future__ import annotations

import msgspec

from riverbridge.demo.report import BACK_KIND
from riverbridge.worker.job import RunningJob
from riverbridge.worker.registry import Workers


class Order(msgspec.Struct):
    """The args: what the order's first job had."""

    order_id: int
    customer_id: str
    amount: str


workers = Workers()


@workers.work(Order, kind=BACK_KIND)
async def receive(job: RunningJob[Order]) -> None:
    """Take note of the order."""
    job.record_output({"received": job.args.order_id})
