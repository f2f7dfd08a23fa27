-- River's rescue (contract 3.9), but only of rows that are still the attempt that was found stuck: a
-- job that was finished, or rescued and begun again, is not touched. A row that somebody has in hand
-- at this moment, as a completion has, waits for the next round. Metadata that is no object stays.
WITH found AS MATERIALIZED (
    SELECT job.id, decided.state, decided.delay
    FROM /* schema */river_job AS job
    JOIN unnest(
        %(ids)b::bigint[],
        %(attempts)b::int[],
        %(attempted_at)b::timestamptz[],
        %(states)b::text[],
        %(delays)b::float8[]
    ) AS decided (id, attempt, attempted_at, state, delay) ON decided.id = job.id
    WHERE
        job.state = 'running'
        AND job.attempt = decided.attempt
        AND job.attempted_at = decided.attempted_at
    ORDER BY job.id
    FOR UPDATE OF job SKIP LOCKED
)
UPDATE /* schema */river_job AS job
SET
    state = found.state::/* schema */river_job_state,
    errors = array_append(job.errors, jsonb_build_object(
        'at', (to_json(now() AT TIME ZONE 'UTC') #>> '{}') || 'Z',
        'attempt', greatest(job.attempt, 0),
        'error', 'Stuck job rescued by JobRescuer',
        'trace', ''
    )),
    finalized_at = CASE WHEN found.state <> 'retryable' THEN now() END,
    scheduled_at = CASE
        WHEN found.state = 'retryable' THEN now() + make_interval(secs => found.delay)
        ELSE job.scheduled_at
    END,
    metadata = CASE jsonb_typeof(job.metadata)
        WHEN 'object' THEN job.metadata || jsonb_build_object(
            'river:rescue_count',
            1 + CASE jsonb_typeof(job.metadata -> 'river:rescue_count')
                WHEN 'number' THEN least(
                    trunc((job.metadata ->> 'river:rescue_count')::numeric), 2147483646
                )
                ELSE 0
            END
        )
        ELSE job.metadata
    END
FROM found
WHERE job.id = found.id
RETURNING job.id
