-- What our own tables hold beside two million jobs, and one job that was tried 25 times and delivered
-- 2,000 times.
WITH long AS (
    INSERT INTO river_job (
        state, attempt, max_attempts, attempted_at, attempted_by, scheduled_at, finalized_at, args,
        errors, kind, metadata, queue
    )
    SELECT 'discarded', 25, 25, now(), array_agg('worker_' || n), now(), now(), '{"customer_id": 1}',
           array_agg(jsonb_build_object(
               'at', to_char((now() - (25 - n) * interval '1 h') AT TIME ZONE 'UTC',
                             'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'attempt', n, 'error', 'timed out after 30 s at host ' || n,
               'trace', repeat('  File "app.py", line 12, in call' || chr(10), 200))),
           'long',
           jsonb_build_object('river:log', jsonb_agg(jsonb_build_object(
               'attempt', n, 'log', repeat('a line of a log' || chr(10), 500)))),
           'queue_1'
    FROM generate_series(1, 25) AS n
    RETURNING id
)
INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt)
SELECT long.id, 'sink_' || n % 8, 1 + n % 25, 'topic/' || n % 12 || '/' || n
FROM long, generate_series(1, 2000) AS n;

INSERT INTO riverbridge_receipt (job_id, sink, attempt, receipt)
SELECT n, 'events', 1, 'topic/' || n % 12 || '/' || n
FROM generate_series(1, 200000) AS n;

INSERT INTO riverbridge_quarantine (
    digest, source, event_id, topic, partition, position, event_at, headers, body, reason, created_at
)
SELECT sha256(n::text::bytea), 'source_' || n % 5, 'event ' || n, 'topic', n % 12, n, now(), '[]',
       convert_to(repeat('{"a": "' || md5(n::text) || '"} ', 1 + n % 100), 'UTF8'),
       CASE WHEN n = 7 THEN 'rarely so' ELSE 'args: no field ' || n % 30 END || ' in event ' || n,
       now() - (100000 - n) * interval '1 s'
FROM generate_series(1, 100000) AS n;

INSERT INTO riverbridge_audit (at, who, role, way, action, subject, before, after)
SELECT now() - (100000 - n) * interval '1 min',
       CASE WHEN n = 7 THEN 'zoe' ELSE 'person_' || n % 40 END, 'operator', 'proxy', 'retry',
       'job ' || n % 3000, '{"state": "discarded"}', '{"state": "available"}'
FROM generate_series(1, 100000) AS n;

INSERT INTO riverbridge_operation (
    key, action, search, job_state, state, started_by, role, way, ended_at, total, last_id, done
)
SELECT 'key ' || n, 'retry', 'kind:kind_' || n % 40, 'discarded', 'finished', 'ann', 'operator',
       'proxy', now(), 5000, 2000000, 5000
FROM generate_series(1, 5000) AS n;

INSERT INTO riverbridge_replay (plan, state, started_by, ended_at, after_id, last_id, total, done)
SELECT '{"filter": {"kinds": ["kind_1"]}, "routes": []}', 'finished', 'ann', now(), 9, 9, 9, 9
FROM generate_series(1, 5000) AS n;

INSERT INTO riverbridge_process (id, host, pid, version, queues)
SELECT 'worker_' || n, 'host-' || n, 1 + n, '1', ARRAY['queue_1']
FROM generate_series(0, 60) AS n;

INSERT INTO riverbridge_position (source, partition, position)
SELECT 'source_' || n % 5, n, n
FROM generate_series(1, 2000) AS n;

INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at)
SELECT 'periodic ' || n, 'every hour', now() + n * interval '1 min'
FROM generate_series(1, 2000) AS n;

INSERT INTO riverbridge_pause (what, name, paused_by, reason)
SELECT 'sink', 'sink_' || n, 'ann', 'down'
FROM generate_series(1, 20) AS n;
