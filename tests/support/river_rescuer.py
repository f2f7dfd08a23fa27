"""What River 0.43's rescuer sends, where it may come too late (contract 3.9 and 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from psycopg.types.json import Jsonb

from riverbridge.store.database import Connection

Found = tuple[int, str, int]
"""A job that was found stuck, the state it is to get, and its attempt."""

MINUTE = timedelta(minutes=1)
STUCK = "SELECT id FROM river_job WHERE state = 'running' AND attempted_at < now() ORDER BY id"
RESCUE = """
UPDATE river_job AS job
SET state = given.state::river_job_state,
    errors = array_append(job.errors, given.error),
    finalized_at = given.finalized_at,
    scheduled_at = coalesce(given.scheduled_at, job.scheduled_at),
    metadata = job.metadata || jsonb_build_object('river:rescue_count',
        coalesce((job.metadata ->> 'river:rescue_count')::int, 0) + 1)
FROM (
    SELECT unnest(%(ids)b::bigint[]) AS id, unnest(%(states)b::text[]) AS state,
        unnest(%(errors)b::jsonb[]) AS error, unnest(%(finalized)b::timestamptz[]) AS finalized_at,
        unnest(%(due)b::timestamptz[]) AS scheduled_at
) AS given
WHERE job.id = given.id
"""


def stuck(connection: Connection) -> list[int]:
    """All that runs, as if it had for too long."""
    return [id_ for (id_,) in connection.execute(STUCK)]


def rescue(connection: Connection, found: Sequence[Found]) -> None:
    """By id alone, without another look; a retry is a minute away."""
    now = datetime.now(UTC)
    error = {"at": now.isoformat(), "error": "Stuck job rescued by JobRescuer", "trace": ""}
    values = {
        "ids": [id_ for id_, _, _ in found],
        "states": [state for _, state, _ in found],
        "errors": [Jsonb(error | {"attempt": attempt}) for _, _, attempt in found],
        "finalized": [None if state == "retryable" else now for _, state, _ in found],
        "due": [now + MINUTE if state == "retryable" else None for _, state, _ in found],
    }
    connection.execute(RESCUE, values)
