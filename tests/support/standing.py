"""A database on which `riverbridge status` has something to say in each of its parts."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from tests.support.jobs import add

REASON = "2097152 bytes are too large: at most 1048576"


ROWS = b"""
INSERT INTO river_queue (name, updated_at) VALUES ('mail', now()), ('orders', now());
INSERT INTO river_leader (leader_id, elected_at, expires_at)
VALUES ('web-1_2026', now(), now() + interval '1 day');
INSERT INTO riverbridge_process (id, host, pid, version, heartbeat_at)
VALUES ('web-1_2026', 'web-1', 7, '0.1.0', now() + interval '1 minute'),
       ('web-2_2026', 'web-2', 7, '0.1.0', now() - interval '3 hours 1 minute');
INSERT INTO riverbridge_pause (what, name, paused_by, reason)
VALUES ('sink', 'events', 'ann@shop', 'the broker is being upgraded');
INSERT INTO riverbridge_position (source, partition, position, updated_at)
VALUES ('signups', '0', '7', now()), ('signups', '1', '9', now() - interval '26 hours 1 minute');
INSERT INTO riverbridge_quarantine (digest, source, event_id, topic, headers, reason)
VALUES (sha256('a'), 'signups', 'a', 't', '[]', 'no JSON');
"""


def stand(connection: psycopg.Connection[Any]) -> None:
    """Two queues, a job that was discarded, a pause, a leader, a dead process and a source."""
    for _ in range(2):
        add(connection, queue="'mail'", scheduled_at="now() - interval '12 minutes 4 seconds'")
    add(connection, queue="'orders'", state="'retryable'", scheduled_at="now() + interval '1 h'")
    error = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": REASON, "trace": ""}
    for finalized in ("now() - interval '59 minutes'", "now() - interval '61 minutes'"):
        add(
            connection,
            kind="'order.placed'",
            queue="'orders'",
            state="'discarded'",
            finalized_at=finalized,
            errors=f"ARRAY['{msgspec.json.encode(error).decode()}']::jsonb[]",
        )
    connection.execute(ROWS)
