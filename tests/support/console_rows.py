"""Rows for every page of the console: one text in every field, or what a busy shop would have."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import psycopg

from riverbridge.model.history import BOUNDS
from tests.support.console import insert

EVIL = """'"><img src=x onerror=alert(1)></script><script>alert(2)</script>{{7*1429}}&lt;b&gt;"""

Connection = psycopg.Connection[Any]


def fill(look: Connection, text: str) -> int:
    """`text` in every field that pages show and that is free; the id of the discarded job, which
    is also that of the event in quarantine."""
    error = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": text, "trace": text}
    id = insert(
        look, kind=text, queue=text, state="discarded", attempt=1, tags=[text],
        args={text: text}, errors=[error], attempted_by=[text],
        metadata={text: text, "output": text, "river:log": [{"attempt": 1, "log": text}],
                  "traceparent": f"00-{text}-{text}-00"},
    )  # fmt: skip
    insert(look, kind=text, queue=text, state="running", attempt=1, attempted_by=[text])
    insert(look, kind=text, queue=text, errors=[error])
    look.execute(
        "INSERT INTO river_queue (name, paused_at, updated_at) VALUES (%s, now(), now())", [text]
    )
    look.execute(
        "INSERT INTO riverbridge_process (id, host, pid, version, queues)"
        " VALUES (%s, %s, 1, %s, ARRAY[%s])",
        [text] * 4,
    )
    look.execute(
        "INSERT INTO river_leader (name, leader_id, elected_at, expires_at)"
        " VALUES ('default', %s, now(), now() + interval '1 h')",
        [text],
    )
    look.execute(
        "INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt) VALUES (%s, %s, 1, %s)",
        [id, text, text],
    )
    look.execute(
        "INSERT INTO riverbridge_audit (who, role, way, action, subject, before, after)"
        " VALUES (%s, %s, %s, %s, %s, jsonb_build_object(%s::text, %s::text), to_jsonb(%s::text))",
        [text] * 8,
    )
    look.execute(
        "INSERT INTO riverbridge_operation (key, action, search, job_state, started_by, role, way,"
        " total, last_id, runner, error) VALUES ('k', 'retry', %s, %s, %s, %s, %s, 1, 1, 'me', %s)",
        [text] * 6,
    )
    look.execute(
        "INSERT INTO riverbridge_view (name, search, job_state, sort, owner)"
        " VALUES (left(%s, 60), %s, %s, %s, %s)",
        [text] * 5,
    )
    history(look, [text], [text])
    _events(look, id, text)
    return id


def _events(look: Connection, id: int, text: str) -> None:
    look.execute(
        "INSERT INTO riverbridge_pause (what, name, paused_by, reason)"
        " VALUES ('sink', %s, %s, %s), ('route', %s, %s, %s)",
        [text] * 6,
    )
    look.execute(
        "INSERT INTO riverbridge_position (source, partition, position) VALUES (%s, %s, %s)",
        [text] * 3,
    )
    headers = msgspec.json.encode([[text, base64.b64encode(text.encode()).decode()]])
    look.execute(
        "INSERT INTO riverbridge_quarantine"
        " (id, digest, source, event_id, topic, partition, position, key, headers, body, reason)"
        " VALUES (%s, sha256('x'), %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [id, *[text] * 5, text.encode(), headers, text.encode(), text],
    )
    look.execute(
        "INSERT INTO riverbridge_replay (plan, started_by, after_id, last_id, total)"
        " VALUES (jsonb_build_object('filter', jsonb_build_object('error', %s::text), 'routes',"
        " '[]'::jsonb, 'sink', %s::text), %s, 0, 1, 1)",
        [text] * 3,
    )
    look.execute(
        "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at) VALUES (%s, %s, now())",
        [text] * 2,
    )


def history(look: Connection, queues: list[str], kinds: list[str]) -> None:
    """Half an hour of charts."""
    run = [0] * (len(BOUNDS) + 1)
    run[4], run[8] = 60, 9
    look.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name, inserted, completed, failed,"
        " discarded, wait, run, available, oldest)"
        " SELECT 60, date_trunc('minute', now()) - make_interval(mins => m), facet, name,"
        " 900 + m, 880, 7, 1, %(run)s, %(run)s, 40 + m, 2.5"
        " FROM generate_series(1, 30) AS m, (SELECT 'all' AS facet, '' AS name"
        " UNION ALL SELECT 'queue', unnest(%(queues)s::text[])"
        " UNION ALL SELECT 'kind', unnest(%(kinds)s::text[])) AS what",
        {"run": run, "queues": queues, "kinds": kinds},
    )


def furnish(look: Connection) -> None:
    """Beside what `fill` writes: jobs of each state, so that there are further pages of them and of
    the audit; and of everything else each way it can stand."""
    states = ("available", "running", "retryable", "scheduled", "pending", "completed",
              "cancelled", "discarded")  # fmt: skip
    for n in range(64):
        insert(
            look, kind="order.placed", queue="outbox", state=states[n % 8], attempt=n % 2,
            errors=[{"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": f"no sku {n}"}],
            tags=["eu"], args={"order_id": 1000 + n, "customer": {"name": "Ann Ångström"}},
        )  # fmt: skip
    look.execute(
        "INSERT INTO riverbridge_audit (who, role, way, action, subject, before)"
        " SELECT 'ann', 'admin', 'basic', 'cancel', 'job ' || n, '{\"state\": \"available\"}'"
        " FROM generate_series(1, 120) AS n"
    )
    look.execute(
        "INSERT INTO riverbridge_process (id, host, pid, version, heartbeat_at)"
        " VALUES ('web-2', 'web-2', 2, '1', now() - interval '1 minute')"
    )
    look.execute("INSERT INTO river_queue (name, updated_at) VALUES ('outbox', now())")
    look.execute(
        "INSERT INTO riverbridge_operation (key, action, search, job_state, state, started_by,"
        " role, way, total, last_id, ended_at, error) VALUES ('l', 'delete', 'kind:a', 'completed',"
        " 'failed', 'ann', 'admin', 'basic', 9, 9, now(), 'the disk is full')"
    )
    look.execute(
        "INSERT INTO riverbridge_replay (plan, started_by, after_id, last_id, total, state, runner,"
        " ended_at) SELECT '{\"filter\": {}, \"routes\": []}', 'ann', 0, 9, 9, state, runner, ended"
        " FROM (VALUES ('open', 'ann', NULL), ('finished', NULL, now()),"
        " ('cancelled', NULL, now())) AS a (state, runner, ended)"
    )
    look.execute(
        "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at, updated_at) VALUES"
        " ('nightly', 'cron x', now() + '1 h'::interval, now()),"
        " ('late', 's', now() - '5 m'::interval, now()),"
        " ('gone', 's', now() - '9 h'::interval, now() - '9 h'::interval)"
    )
    look.execute(
        "INSERT INTO riverbridge_quarantine (id, digest, source, event_id, topic, headers, reason)"
        " SELECT 1000 + n, sha256(n::text::bytea), 'shop', 'event-' || n, 'orders', '[]',"
        " 'body: is no JSON' FROM generate_series(1, 110) AS n"
    )
    look.execute("ANALYZE river_job, riverbridge_audit")
