"""The receipts of confirmed jobs: our own table `riverbridge_receipt`."""

from __future__ import annotations

from datetime import UTC

from riverbridge.model.receipt import KeptReceipt
from riverbridge.store.exchange import Exchange, Query

MOST = 1000
"""Receipts of one job that are shown."""


def receipts_of(job_id: int, *, schema: str | None) -> Exchange[list[KeptReceipt]]:
    """The first receipts of a job; none where the table is missing or this role may not read it."""
    ((readable,),) = yield Query("receipt/readable", {"schema": schema or None}, schema)
    if not readable:
        return []
    rows = yield Query("receipt/of_job", {"job": job_id, "limit": MOST}, schema)
    return [
        KeptReceipt(sink, attempt, text, at.astimezone(UTC)) for sink, attempt, text, at in rows
    ]
