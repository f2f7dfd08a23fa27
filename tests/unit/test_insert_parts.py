"""The parts of an insert that need no server: what goes into a statement, and how it is worded."""

from __future__ import annotations

from datetime import datetime

import pytest

from riverbridge.client.adapters import style
from riverbridge.model.args import RawArgs
from riverbridge.model.options import NewJob, new_job
from riverbridge.store import insert


def jobs(*sizes: int) -> list[NewJob]:
    return [new_job(RawArgs("k", '{"a": "' + "x" * (size - 9) + '"}')) for size in sizes]


def sizes(of: list[NewJob]) -> list[int]:
    return [len(chunk) for chunk in insert.chunks(of)]


def test_a_statement_has_so_many_jobs_and_no_more() -> None:
    assert sizes(jobs(*[20] * 1000)) == [1000]
    assert sizes(jobs(*[20] * 2001)) == [1000, 1000, 1]


def test_a_statement_has_so_many_bytes_but_always_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insert, "CHUNK_BYTES", 100)
    assert sizes(jobs(40, 40, 40, 200, 200, 20, 20)) == [2, 1, 1, 1, 2]
    assert sizes(jobs(200)) == [1]


def test_each_queue_is_announced_in_the_first_statement_only() -> None:
    exchange = insert.insert_many(jobs(*[20] * 1001), queues=["a", "b"])
    first = next(exchange)
    second = exchange.send([(number, datetime(2026, 1, 2)) for number in range(1000)])
    assert [query.parameters["queues"] for query in (first, second)] == ['["a","b"]', "[]"]


def test_parameters_are_named_as_psycopg2_has_it() -> None:
    assert "unnest(%(queues)s::text[])" in style.named("notify/insert", None)
    assert "_%%'" in style.named("queue/strangers", None), "it reads a doubled sign as one, too"


def test_parameters_are_numbered_as_asyncpg_has_it() -> None:
    sql, names = style.numbered("job/insert", "S")
    assert names == ("schema", "queues", "args", "options", "distinct")
    assert "coalesce($1::text, current_schema())" in sql
    assert "json_to_recordset($5::text::json)" in sql
    assert 'INSERT INTO "S".river_job' in sql
    assert "%(" not in sql
    assert "_%'" in style.numbered("queue/strangers", None)[0]
