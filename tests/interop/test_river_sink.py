"""What the River sink delivers, River's Go worker works, in another database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from riverbridge import Client, InsertOpts, RawArgs
from riverbridge.model.outcome import Delivered
from riverbridge.sinks.base import Message
from riverbridge.sinks.river import RiverSink
from tests.interop.conftest import River
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, Server, new_name
from tests.support.wait import eventually

pytestmark = pytest.mark.go

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def target(postgres: Server, template: str) -> Iterator[Database]:
    """Another database with River's tables."""
    name = new_name("target")
    yield Database(name, postgres.create_database(name, template), postgres)
    postgres.drop_database(name)


def ended(client: Client) -> list[str]:
    """What became of the jobs: their states, or `failed` for one that was tried and failed."""
    return ["failed" if job.errors else str(job.state) for job in client.job_list().jobs]


def test_a_go_worker_works_what_was_delivered(
    database: Database, target: Database, river_program: Path
) -> None:
    settings = {
        "SOURCE_NAME": "shop",
        "SINKS__BILLING__TYPE": "river",
        "SINKS__BILLING__DATABASE_URL": target.dsn,
        "SINKS__BILLING__QUEUE": "billing",
    }
    go = River(river_program, target)
    with Client(database.dsn) as shop, Client(target.dsn) as billing:
        opts = InsertOpts(
            queue="outbox", priority=2, tags=["first"], metadata={"traceparent": PARENT}
        )
        sold = shop.insert(RawArgs("twin", '{"do": "complete"}'), opts).job
        shop.insert(RawArgs("twin", '{"do": "fail", "text": "no"}'), opts)
        with BridgeProcess(database, settings), go.serving("go-billing-1", "billing"):
            eventually(lambda: ended(billing) == ["completed", "failed"], within=30)
            # Delivered, whatever became of them there.
            eventually(lambda: ended(shop) == ["completed", "completed"])
        done, failed = billing.job_list().jobs
        assert done.args == {"do": "complete"}
        assert (done.priority, done.tags, done.attempt) == (2, ["first"], 1)
        assert done.metadata["event_id"] == f"shop:{sold.id}"
        assert done.metadata["event_source"] == "shop"
        assert done.metadata["traceparent"] == PARENT
        assert failed.errors is not None
        assert failed.errors[0].error == "no"
        # As it would be if the bridge had died before it completed the job.
        again = Message(f"shop:{sold.id}", b'{"do": "complete"}', "twin", headers=(
            ("river-queue", "billing"),
        ))  # fmt: skip
        sink = RiverSink(database_url=target.dsn)
        assert sink.deliver([again], time.monotonic() + 10) == [Delivered()]
        sink.close()
        assert len(billing.job_list().jobs) == 2
        # To Go's client it is a job as any other.
        retry = {"operations": [{"do": "job_retry", "id": done.id}]}
        [retried] = go("administer", json.dumps(retry))["results"]
        assert retried["error"] in (None, ""), retried
        assert billing.job_get(done.id).state == "available"
