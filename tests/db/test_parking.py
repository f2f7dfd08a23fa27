"""Which parked jobs are brought forward, and which are not touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from riverbridge.store.parking import ParkingTable, Unparked
from tests.support.database import Database
from tests.support.jobs import add, fill, row

Rows = psycopg.Connection[tuple[Any, ...]]

PARKED = {
    "state": "'scheduled'",
    "scheduled_at": "now() + interval '1 minute'",
    "attempted_at": "now() - interval '2 seconds'",
    "metadata": """'{"riverbridge:parked": {"for": ["a", "b"], "times": 1}}'""",
}


@pytest.fixture
def connection(database: Database) -> Iterator[Rows]:
    with database.connect() as opened:
        yield opened


def unpark(connection: Rows, **changes: Any) -> Unparked:
    given: dict[str, Any] = {
        "sink": "a",
        "queues": ["q"],
        "before": [],
        "sent": [],
        "limit": 1000,
    } | changes
    return ParkingTable(None).unpark(connection, **given)


def parked(connection: Rows, **columns: str) -> int:
    return add(connection, **(PARKED | columns))


def test_a_parked_job_is_available_now(connection: Rows) -> None:
    id_ = parked(connection, attempt="3", errors="ARRAY['{}'::jsonb]")
    before = row(connection, id_)
    assert unpark(connection) == (False, [id_], ["q"])
    after = row(connection, id_)
    assert (after.pop("state"), before.pop("state")) == ("available", "scheduled")
    assert after.pop("scheduled_at") < before.pop("scheduled_at")
    assert after == before


OTHERS: Sequence[dict[str, str]] = [
    {"state": "'cancelled'", "finalized_at": "now()"},
    {"state": "'retryable'"},
    {"state": "'available'"},
    {"state": "'running'"},
    {"queue": "'other'"},
    {"scheduled_at": "now() + interval '1 hour'"},
    {"attempted_at": "now()"},
    {"attempted_at": "NULL"},
    {"metadata": """'{"riverbridge:parked": {"for": ["b"]}}'"""},
    {"metadata": """'{"riverbridge:parked": {"for": {"b": "a"}}}'"""},
    {"metadata": """'{"riverbridge:parked": "a"}'"""},
    {"metadata": "'[]'"},
    {"metadata": "'{}'"},
    # It takes its key when it becomes available: another may have it then.
    {"unique_key": "'k'", "unique_states": "B'00000001'"},
]


@pytest.mark.parametrize("columns", OTHERS, ids=str)
def test_what_is_not_or_not_any_more_parked_for_the_sink_is_left(
    connection: Rows, columns: dict[str, str]
) -> None:
    id_ = parked(connection, **columns)
    before = row(connection, id_)
    assert unpark(connection) == (False, [], [])
    assert row(connection, id_) == before


def test_a_job_that_has_its_unique_key_keeps_it(connection: Rows) -> None:
    id_ = parked(connection, unique_key="'k'", unique_states="B'10000001'")
    assert unpark(connection).ids == [id_]


def test_the_next_batch_waits_until_the_last_is_claimed(connection: Rows) -> None:
    fill(connection, 30, **PARKED, priority="1 + n % 4")
    first = unpark(connection, limit=20)
    assert len(first.ids) == 20
    assert unpark(connection, limit=20, before=first.ids) == (True, [], [])
    connection.execute("UPDATE river_job SET state = 'running' WHERE state = 'available'")
    assert len(unpark(connection, limit=20, before=first.ids).ids) == 10


def test_what_is_out_or_in_somebodys_hand_is_passed_over(
    connection: Rows, database: Database
) -> None:
    sent, held, free = (parked(connection) for _ in range(3))
    with database.connect() as other, other.transaction():
        other.execute("SELECT FROM river_job WHERE id = %s FOR UPDATE", (held,))
        assert unpark(connection, sent=[sent]).ids == [free]
    assert sorted(unpark(connection).ids) == [sent, held]
