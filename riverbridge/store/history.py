"""The history of jobs: our own table `riverbridge_history`, written a few seconds at a time.

It is written from what River's rows say, by River's indexes alone. A round reads the jobs finished
in the next five seconds that are LAG seconds ago by now, and those with ids that were there at the
round before; so a transaction that stays open for less than that misses nothing. How far it came is
kept in the transaction that adds to the history: each job counts once, whoever writes it.

A job whose row is deleted before it is read is not counted, as with `ON_SUCCESS=delete`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg

from riverbridge.model.history import BOUNDS, STEPS, Facet, Finished, Line, Tally, floor
from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.queues import QueueTable

WINDOW = timedelta(seconds=5)
"""Of finished jobs, as much is read at once."""

LAG = timedelta(seconds=15)
"""What is written is at least so old."""

BEHIND_MAX = timedelta(minutes=10)
"""What is older than this is left out when nobody has written for a while."""

FAILURES_MAX = 250
"""Jobs of each queue and priority whose errors are looked at."""

DEPTH_MAX = 100_000
"""The most jobs of one queue that are counted as waiting; a chart shows no more."""

QUEUES_MAX = 100
"""Queues whose backlog is counted."""

_NAMES_ASKED = 12


def advance(conn: psycopg.Connection[Any], *, schema: str | None) -> bool:
    """Write the next stretch, if it is time; whether one more could be written at once.

    Runs in the caller's transaction. Nothing is done while another process is at it.
    """
    run = _Runner(conn, schema)
    mark = run.rows("history/mark")
    if not mark:
        run.do("history/begin")  # there is none yet, or somebody has it
        return False
    until, last_id, seen_id, now, newest_id = mark[0]
    since = max(_utc(until), _utc(now) - BEHIND_MAX).replace(microsecond=0)
    # Never over a full minute: all that is found then belongs to one.
    end = min(since + WINDOW, floor(since, 60) + timedelta(minutes=1))
    latest = _utc(now) - LAG
    if end > latest:
        return False
    tally = Tally()
    if since == floor(since, 60):
        _look_at_queues(conn, schema, tally, floor(_utc(now), 60))
    _count_inserted(run, tally, _utc(now), last_id, seen_id)
    _count_finished(run, tally, since, end)
    add(conn, tally, schema=schema)
    run.do("history/move", until=end, last_id=max(last_id, seen_id), seen_id=newest_id)
    return end + WINDOW <= latest


def add(conn: psycopg.Connection[Any], tally: Tally, *, schema: str | None) -> None:
    """Add what was collected, in the caller's transaction."""
    if lines := tally.lines():
        rows = msgspec.json.encode(lines).decode()
        _Runner(conn, schema).do("history/add", rows=rows)


def prune(conn: psycopg.Connection[Any], *, schema: str | None) -> int:
    """Delete what is older than charts go back; how many rows it were."""
    values = {"steps": list(STEPS), "keep": list(STEPS.values())}
    return conn.execute(statement("history/prune", schema), values).rowcount


def history(
    *,
    step: int,
    since: datetime,
    facet: Facet,
    names: Sequence[str],
    schema: str | None,
) -> Exchange[list[Line]]:
    """The lines of these names since then, oldest first. step: one of STEPS."""
    values = {"step": step, "since": since, "facet": facet, "names": list(names)}
    rows = yield Query("history/points", values, schema)
    return [Line(step, _utc(at), *rest) for at, *rest in rows]


def busiest(
    *, step: int, since: datetime, facet: Facet, limit: int = _NAMES_ASKED, schema: str | None
) -> Exchange[list[str]]:
    """The names with most jobs since then."""
    values = {"step": step, "since": since, "facet": facet, "limit": limit}
    return [name for (name,) in (yield Query("history/busiest", values, schema))]


def _look_at_queues(
    conn: psycopg.Connection[Any], schema: str | None, tally: Tally, at: datetime
) -> None:
    table = QueueTable(schema)
    depths = {}
    for queue in table.waiting(conn)[:QUEUES_MAX]:
        depth = table.depth(conn, queue, DEPTH_MAX)
        depths[queue] = (depth.jobs, depth.oldest_seconds)
    tally.backlog(at, depths)


def _count_inserted(run: _Runner, tally: Tally, now: datetime, last_id: int, seen_id: int) -> None:
    if seen_id <= last_id:
        return
    values = {"since": now - BEHIND_MAX, "after_id": last_id, "to_id": seen_id}
    for minute, queue, kind, jobs in run.rows("history/inserted", **values):
        tally.inserted(_utc(minute), queue, kind, jobs)


def _count_finished(run: _Runner, tally: Tally, since: datetime, end: datetime) -> None:
    values = {"since": since, "until": end, "bounds": list(BOUNDS), "unseen": LAG + WINDOW}
    for row in run.rows("history/finished", **values):
        tally.finished(since, Finished(*row))
    values = {
        "since": since,
        "since_text": _as_in_errors(since),
        "until_text": _as_in_errors(end),
        "limit": FAILURES_MAX,
    }
    for queue, kind, attempts in run.rows("history/failed", **values):
        tally.failed(since, queue, kind, attempts)


class _Runner:
    """Statements on one connection, each planned for its values: plans that are kept do not know
    how little of the table a stretch of time is."""

    def __init__(self, conn: psycopg.Connection[Any], schema: str | None) -> None:
        self._conn = conn
        self._schema = schema

    def rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._run(name, values).fetchall()

    def do(self, name: str, **values: Any) -> None:
        self._run(name, values)

    def _run(self, name: str, values: dict[str, Any]) -> psycopg.Cursor[Any]:
        sql = statement(name, self._schema)
        return self._conn.execute(sql, values, prepare=False, binary=True)


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _as_in_errors(at: datetime) -> str:
    """A whole second as the begin of the text of every instant in it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S")
