"""Two million jobs in a real Postgres, the same ones every time, and our own tables beside them.

Most are done, at 2,000 a second up to now; behind them, with higher ids, are a backlog of
available jobs, those to be tried again, scheduled, failed and running ones. Statistics are made, as
autovacuum would have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from riverbridge.model.history import BOUNDS, STEPS

JOBS = 2_000_000
RATE = 2_000
"""Jobs a second that were done."""

SHARES = {
    "completed": 0.78,
    "cancelled": 0.01,
    "discarded": 0.05,
    "pending": 0.01,
    "scheduled": 0.03,
    "retryable": 0.02,
    "running": 0.001,
    "available": 0.099,
}
"""Of each state; the later ones have the higher ids."""

FINAL = ("completed", "cancelled", "discarded")

RETIRED = 20_000
"""The oldest completed jobs are of a kind that there is no more: a search by id walks far to it."""

_ERROR = """ARRAY[jsonb_build_object(
    'at', to_char(($ended)::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'attempt', 1, 'error', 'connection refused by host ' || n % 50,
    'trace', repeat('  File "app.py", line 12, in call' || chr(10), 8))]"""

_INSERT = """
INSERT INTO river_job (
    state, attempt, max_attempts, attempted_at, attempted_by, created_at, scheduled_at,
    finalized_at, priority, args, errors, kind, metadata, queue, tags
)
SELECT '$state', $attempt, 25, $begun, $owners, $created, $due, $ended_at,
       1 + (random() * random() * 4)::int % 4,
       jsonb_build_object('customer_id', n % 50000, 'total', round((random() * 1000)::numeric, 2),
                          'note', md5(n::text), 'lines', jsonb_build_array(n % 7, n % 11)),
       $errors,
       $kind,
       CASE WHEN n % 10 = 0 THEN jsonb_build_object('trace', md5(n::text)) ELSE '{}' END,
       'queue_' || (random() * random() * 12)::int,
       CASE WHEN n % 5 = 0 THEN ARRAY['tag_' || n % 20] ELSE '{}' END
FROM generate_series(1, $count) AS n
"""

OURS = Path(__file__).with_name("seed_ours.sql")
HISTORY = Path(__file__).with_name("seed_history.sql")


def seed(connection: psycopg.Connection[Any], jobs: int = JOBS) -> None:
    """Fill the empty tables. The indexes of `river_job` are made afterwards, which is quicker."""
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("SET max_parallel_maintenance_workers = 2")
    with connection.transaction():  # a table that is new in it needs no WAL
        connection.execute("TRUNCATE river_job")
        connection.execute("SELECT setseed(0.42)")
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = 'river_job' AND indexname <> 'river_job_pkey'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for state, share in SHARES.items():
            connection.execute(_insert(state, round(jobs * share)))
        for _, definition in indexes:
            connection.execute(definition)
    connection.execute(
        "INSERT INTO river_queue (name, updated_at)"
        " SELECT DISTINCT 'queue_' || n, now() FROM generate_series(0, 12) AS n"
    )
    connection.execute(OURS.read_bytes())
    connection.execute("VACUUM ANALYZE")
    connection.execute("RESET ALL")


def write_history(connection: psycopg.Connection[Any]) -> None:
    """As much history up to now as is kept, of as many queues and kinds as are told apart."""
    connection.execute("TRUNCATE riverbridge_history")
    for step, keep in STEPS.items():
        values = {"step": step, "keep": keep, "places": len(BOUNDS)}
        connection.execute(HISTORY.read_bytes(), values)
    connection.execute("VACUUM ANALYZE riverbridge_history")


def _insert(state: str, count: int) -> bytes:
    # One that has ended did so a moment before the next; the others have come a moment before.
    apart = 1 / RATE * (SHARES["completed"] / (count / JOBS) if state in FINAL[1:] else 1)
    ended = f"now() - ({count} - n) * interval '{apart:.9f} s'"
    begun = f"{ended} - random() * interval '200 ms'"
    tried = state in (*FINAL, "running", "retryable")
    due = {
        "scheduled": "now() + n * interval '1 s'",
        "retryable": "now() + (random() * 600) * interval '1 s'",
        "available": f"now() - ({count} - n) * interval '5 ms'",
    }.get(state, f"{begun} - random() * random() * interval '2 s'")
    failed = state in ("discarded", "retryable")
    error = _ERROR.replace("$ended", begun)
    kind = "'kind_' || (random() * random() * 40)::int"
    if state == "completed":
        kind = f"CASE WHEN n <= {RETIRED} THEN 'retired' ELSE {kind} END"
        kind = f"CASE WHEN n % 50000 = 0 THEN 'rare' ELSE {kind} END"
    values = {
        "$state": state,
        "$attempt": "1" if tried else "0",
        "$begun": begun if tried else "NULL",
        "$owners": "ARRAY['worker_' || n % 8]" if tried else "NULL",
        "$created": f"{ended} - interval '3 s'",
        "$due": due,
        "$ended_at": ended if state in FINAL else "NULL",
        "$kind": kind,
        "$errors": error
        if failed
        else f"CASE WHEN n % 100 = 0 THEN {error} END"
        if tried
        else "NULL",
        "$count": str(count),
    }
    text = _INSERT
    for name, value in sorted(values.items(), key=lambda item: -len(item[0])):
        text = text.replace(name, value)
    return text.encode()
