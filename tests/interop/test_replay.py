"""A replayed row beside one that River's JobRetry brought back, and as River reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from riverbridge.bridge.replay import Replayer
from riverbridge.model.replay import ReplayFilter, ReplayRoute, plan_replay
from tests.interop.conftest import COPY, River
from tests.support.database import Database

pytestmark = pytest.mark.go

INSERT = """
INSERT INTO ours.river_job (kind, args, queue, state, attempt, max_attempts, attempted_at,
    attempted_by, finalized_at, errors, metadata, tags)
SELECT 'twin', '{"n": 1.50}', 'outbox', state::ours.river_job_state, attempt, 3, '2026-01-02Z',
    '{somebody}', '2026-01-02Z', errors, '{"a": {"b": 1}}', '{abc}'
FROM (VALUES
    ('completed', 1, NULL::jsonb[]),
    ('cancelled', 2, NULL),
    ('discarded', 3, ARRAY[
        '{"at": "2026-01-02T03:04:05.123456Z", "attempt": 3, "error": "x", "trace": ""}']::jsonb[])
) AS job (state, attempt, errors)
"""
SAME = """
SELECT id, state::text, attempt, max_attempts, attempted_at, attempted_by, created_at, finalized_at,
    scheduled_at > '2026-02-01Z' AND scheduled_at <= now(), priority, args::text, kind, queue, tags,
    to_json(errors)::text, (metadata - 'riverbridge:replay')::text
FROM {}.river_job ORDER BY id
"""


def same(conn: psycopg.Connection[Any], schema: str) -> list[tuple[Any, ...]]:
    return conn.execute(SAME.format(schema).encode()).fetchall()


class NotStopped:
    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        raise AssertionError("there is nothing to wait for")


def test_the_row_is_that_of_a_retry_and_river_reads_it(
    twin_database: Database,
    twin_tables: psycopg.Connection[Any],
    river_in: Callable[[Database, str], River],
) -> None:
    twin_tables.execute(INSERT)
    twin_tables.execute(COPY)
    plan = plan_replay(ReplayFilter(), [ReplayRoute("r", ("outbox",), ("*",), ("s",))])
    with twin_database.connect() as connection:
        replayer = Replayer(connection, "ours", name="me")
        started = replayer.start(plan, replayer.preview(plan))
        [step] = replayer.run(started.id, NotStopped())
    assert step.replay.done == 3
    retries = [{"do": "job_retry", "id": id} for id in (1, 2, 3)]
    river_in(twin_database, "rivers")("administer", json.dumps({"operations": retries}))
    assert same(twin_tables, "ours") == same(twin_tables, "rivers")

    marked = {"limit": 10, "metadata": {"riverbridge:replay": 1}}
    read = river_in(twin_database, "ours")("administer", json.dumps({"lists": [marked]}))
    assert read["pages"][0]["jobs"] == [[id, "available"] for id in (1, 2, 3)]
