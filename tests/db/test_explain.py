"""Every statement is planned: against empty tables, and so that a full one is not read through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from riverbridge.sql import statement
from riverbridge.store.looks import MOST
from tests.support.database import Database, Server, new_name
from tests.support.jobs import fill
from tests.unit.test_sql_files import FILES, name

ROWS = 200_000

VALUES: dict[str, object] = {
    "queue": "q",
    "queues": ["q"],
    "names": ["q"],
    "kinds": ["order.%"],
    "taken": True,
    "floor_1": "-infinity",
    "floor_2": "-infinity",
    "floor_3": "-infinity",
    "floor_4": "-infinity",
    "after_1": 0,
    "after_2": 0,
    "after_3": 0,
    "after_4": 0,
    "back": 1.0,
    "aside": [],
    "limit": 1000,
    "bytes": 1 << 23,
    "ids": [5, 7, 11],
    "client": "riverbridge_me",
    "states": ["retryable", "discarded", "completed"],
    "errors": ["x", "y", None],
    "delays": [9.0, None, None],
    "attempts": [1, 1, 1],
    "ages": [0.0, 0.0, 0.0],
    "metadata": [None, None, None],
    "traces": ["", "", ""],
    "held": [1],
    "sink": "events",
    "before": [5, 7, 11],
    "sent": [5, 7, 11],
    "owners": ["riverbridge_dead"] * 3,
    "leased": [1, 1, 1],
    "age": 0.0,
    "after": timedelta(0),
    "after_id": 0,
    "silence": 8.0,
    "id": "riverbridge_me",
    "all": False,
    "cursor": ROWS - 10_000,
    "since": 5,
    "lately": None,
    "lows": [5, 50],
    "highs": [5, 70],
    "seconds": 3600.0,
    "text": 300,
}
REPLAY: dict[str, object] = {
    "id": 1,
    "ids": None,
    "states": ["completed", "discarded", "cancelled"],
    "kinds": ["order.%"],
    "queues": None,
    "from_id": None,
    "to_id": None,
    "created_from": None,
    "created_before": None,
    "finalized_from": None,
    "finalized_before": None,
    "error": "pipe",
    "tags": None,
    "metadata": None,
    "args": None,
    "route_names": ["r", "r"],
    "route_queues": ["^q$", "^q$"],
    "route_kinds": ["order.%", "%.placed"],
    "sinks_of": ["r"],
    "delivered": ["[]"],
    "after_id": 10,
    "last_id": ROWS,
    "walk": 10_000,
    "limit": 500,
    "runner": "me",
    "rate": None,
    "silence": 10.0,
}
HOT = {
    "job/claim", "job/complete", "job/delete", "job/settle", "job/lease", "job/settle_leased",
    "job/still_leased", "job/orphans", "queue/unmatched", "queue/strangers", "process/forget",
    "job/stuck", "job/rescue", "replay/look", "replay/jobs", "replay/lock", "replay/move",
    "job/unpark",
    "order/read", "order/late", "order/sweep", "order/rows", "order/held", "order/poll",
    "order/claim", "order/horizon", "job/discarded_lately",
}  # fmt: skip


@pytest.fixture(scope="module")
def full(postgres: Server, template: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """`ROWS` jobs: most of them done, some thousands waiting, a few running."""
    database = Database(new := new_name(), postgres.create_database(new, template), postgres)
    with database.connect() as connection:
        done = {"state": "'completed'", "finalized_at": "now() - n * interval '1 second'"}
        fill(connection, ROWS - 25_500, **done, attempted_by="ARRAY['riverbridge_x']")
        fill(connection, 20_000, kind="'order.' || n % 5", priority="1 + n % 4")
        fill(connection, 5_000, scheduled_at="now() + n * interval '1 hour'")
        fill(
            connection,
            500,
            state="'running'",
            attempted_at="now()",
            attempted_by="ARRAY['riverbridge_dead']",
        )
        connection.execute(
            "INSERT INTO riverbridge_process (id, host, pid, version, queues, heartbeat_at)"
            " SELECT 'riverbridge_' || n, 'h', 1, '0', '{q}', now()"
            " FROM generate_series(1, 20) AS n"
        )
        connection.execute("VACUUM ANALYZE")
        yield connection
    postgres.drop_database(new)


def values(path: str, connection: psycopg.Connection[Any]) -> dict[str, object]:
    now = connection.execute("SELECT now()").fetchone()
    assert now is not None
    given = VALUES | {"claimed_at": [now[0]] * 3, "attempted_at": [now[0]] * 3}
    if path.startswith("replay/"):
        given |= REPLAY | {"started_at": now[0]}
        if path != "replay/look":
            given["ids"] = list(range(1000, 1500))
    if path.startswith("process/"):
        given["ids"] = ["riverbridge_dead"]
    return given


def plan(path: str, connection: psycopg.Connection[Any]) -> dict[str, Any]:
    text = b"EXPLAIN (FORMAT JSON) " + statement(path)
    row = connection.execute(text, values(path, connection)).fetchone()
    assert row is not None
    [top] = row[0] if isinstance(row[0], list) else json.loads(row[0])
    found: dict[str, Any] = top["Plan"]
    return found


def nodes(top: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield top
    for below in top.get("Plans", []):
        yield from nodes(below)


# Those of these are for other tables; the tests of their parts run them.
OTHERS = ("migration", "demo", "clock")
SINCE = {"replication/create_failover_slot": 170_000}
"""What older servers have not; there it is not asked for."""


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name not in OTHERS], ids=name)
def test_every_statement_is_valid(tables: Database, path: Path) -> None:
    """By the server's parser and its catalogue, with parameters of whatever type it infers."""
    text = statement(name(path)).decode()
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found.group(1), f"${len(numbers) + 1}")

    text = re.sub(r"%\((\w+)\)[sb]", number, text).replace("%%", "%")
    with tables.connect() as look:
        if look.info.server_version < SINCE.get(name(path), 0):
            return
        prepared = look.pgconn.prepare(b"checked", text.encode())
        assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK, (
            prepared.error_message.decode() if prepared.error_message else ""
        )


@pytest.mark.parametrize("path", sorted(HOT))
def test_no_hot_statement_reads_the_whole_table(
    full: psycopg.Connection[tuple[Any, ...]], path: str
) -> None:
    found = list(nodes(plan(path, full)))
    reads = [node for node in found if node.get("Relation Name") == "river_job"]
    assert reads
    assert [node["Node Type"] for node in reads if node["Node Type"] == "Seq Scan"] == []


def test_parked_jobs_are_found_by_the_fetching_index_and_no_further_ahead_than_they_may_be(
    full: psycopg.Connection[tuple[Any, ...]],
) -> None:
    scans = [node for node in nodes(plan("job/unpark", full)) if "Index Name" in node]
    [search] = [
        node for node in scans if node["Index Name"] == "river_job_prioritized_fetching_index"
    ]
    assert search["Node Type"] == "Index Scan"
    for column in ("state", "queue", "priority", "scheduled_at >", "scheduled_at <"):
        assert column in search["Index Cond"]
    assert {node["Index Name"] for node in scans} == {
        "river_job_prioritized_fetching_index",
        "river_job_pkey",
    }


def test_an_ordered_read_goes_on_from_its_cursor_by_id(
    full: psycopg.Connection[tuple[Any, ...]],
) -> None:
    [scan] = [node for node in nodes(plan("order/read", full)) if "Relation Name" in node]
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "river_job_pkey")
    assert "id >" in scan["Index Cond"]
    assert not [node for node in nodes(plan("order/read", full)) if node["Node Type"] == "Sort"]


def test_a_claim_goes_down_the_fetching_index_by_its_floor(
    full: psycopg.Connection[tuple[Any, ...]],
) -> None:
    [scan] = [
        node
        for node in nodes(plan("job/claim", full))
        if node["Node Type"].startswith(("Index", "Bitmap")) and "Index Name" in node
    ]
    assert scan["Node Type"] == "Index Scan"
    assert scan["Index Name"] == "river_job_prioritized_fetching_index"
    for column in ("state", "queue", "priority", "scheduled_at >=", "scheduled_at <= now()"):
        assert column in scan["Index Cond"]
    assert not [node for node in nodes(plan("job/claim", full)) if node["Node Type"] == "Sort"]


def test_a_replay_reads_by_id_and_stops_at_its_limit(
    full: psycopg.Connection[tuple[Any, ...]],
) -> None:
    """In order without sorting: where most rows match, few are read for a batch."""
    found = list(nodes(plan("replay/look", full)))
    scans = [node for node in found if node.get("Relation Name") == "river_job"]
    assert {scan["Index Name"] for scan in scans} == {"river_job_pkey"}
    assert not [node for node in found if node["Node Type"] in ("Sort", "Hash")]


@pytest.mark.parametrize(
    ("narrowed", "index"),
    [
        ({"ids": [5, 7, 11]}, "river_job_pkey"),
        ({"finalized_from": timedelta(minutes=5)}, "river_job_state_and_finalized_at_index"),
        ({"args": '{"a": 1}'}, "river_job_args_index"),
        ({"metadata": '{"a": 1}'}, "river_job_metadata_index"),
    ],
    ids=["ids", "finalized", "args", "metadata"],
)
def test_a_narrow_replay_is_counted_by_an_index(
    full: psycopg.Connection[tuple[Any, ...]], narrowed: dict[str, Any], index: str
) -> None:
    """Its looks end soon, so that they come to be at as many ids as may be."""
    given = values("replay/count", full) | {"ids": None, "error": None, "kinds": None} | narrowed
    given |= {"low": 1, "high": MOST}
    if isinstance(ago := given["finalized_from"], timedelta):
        started_at = given["started_at"]
        assert isinstance(started_at, datetime)
        given["finalized_from"] = started_at - ago
    row = full.execute(b"EXPLAIN (FORMAT JSON) " + statement("replay/count"), given).fetchone()
    assert row is not None
    assert index in {node.get("Index Name") for node in nodes(row[0][0]["Plan"])}
