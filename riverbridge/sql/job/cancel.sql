-- Cancels jobs; marks those that are running and tells their workers; leaves finished ones as they are
-- (contract 3.5). The rows come back as they stand afterwards: by the lock, not by the statement's
-- snapshot, which is older if there was a wait.
WITH locked AS (
    SELECT * FROM /* schema */river_job WHERE id = ANY (%(ids)b::bigint[]) ORDER BY id FOR UPDATE
),
cancelled AS (
    UPDATE /* schema */river_job AS job
    SET state = CASE WHEN job.state = 'running' THEN job.state ELSE 'cancelled' END,
        finalized_at = CASE WHEN job.state = 'running' THEN job.finalized_at ELSE now() END,
        metadata = CASE WHEN jsonb_typeof(job.metadata) <> 'object' THEN job.metadata
                        ELSE job.metadata || jsonb_build_object(
                            'cancel_attempted_at', (to_json(now() AT TIME ZONE 'UTC') #>> '{}') || 'Z') END
    FROM locked
    WHERE job.id = locked.id
      AND locked.state NOT IN ('cancelled', 'completed', 'discarded')
      AND locked.finalized_at IS NULL
    RETURNING job.id, to_json(job)::text AS line, pg_notify(
        concat(coalesce(%(schema)s::text, current_schema()), '.river_control'),
        json_build_object('action', 'cancel', 'job_id', job.id, 'queue', job.queue)::text)
)
SELECT coalesce(cancelled.line, to_json(locked)::text)
FROM locked
LEFT JOIN cancelled USING (id)
ORDER BY id
