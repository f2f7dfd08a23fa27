"""What a lane knows of its leases."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from riverbridge.engine.batch import Batch
from riverbridge.engine.leases import LeaseBook
from riverbridge.engine.settling import Aside
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Delivered
from riverbridge.model.settlement import Lease
from tests.support.jobs import feed, job


class Fenced:
    """A table in which no lease is ours any more."""

    def settle_leased(self, *_: object) -> dict[int, JobState]:
        return {}

    def still_leased(self, *_: object) -> set[int]:
        return set()


def leased(book: LeaseBook, one: ClaimedJob) -> Batch:
    batch = Batch([one], time.monotonic() + 10)
    lease = Lease(one, one.attempt + 1, "me", datetime.now(UTC))
    book.add(feed(), batch, [lease], None)
    return batch


def test_a_job_that_came_back_is_still_held_when_its_lost_lease_is_settled() -> None:
    connection: Any = SimpleNamespace(
        execute=lambda *_, **__: None,
        info=SimpleNamespace(server_version=180_000),
        closed=False,
        broken=False,
    )
    table: Any = Fenced()
    book = LeaseBook(table, Aside())
    first, second = leased(book, job(id=7, attempt=0)), leased(book, job(id=7, attempt=1))
    assert book.ids() == {7}
    first.answer([Delivered()])
    book.settle_answered(connection)
    assert book.ids() == {7}
    second.answer([Delivered()])
    book.settle_answered(connection)
    assert book.ids() == set()
