-- Makes a job available now, unless it is running, or available and due already (contract 3.6). Where
-- another job holds its unique key nothing is changed and that job's id is given: the index would
-- refuse, and with it the caller's whole transaction.
WITH locked AS (
    SELECT * FROM /* schema */river_job WHERE id = %(id)s::bigint FOR UPDATE
),
movable AS (
    SELECT * FROM locked
    WHERE state <> 'running' AND NOT (state = 'available' AND scheduled_at < now())
),
holder AS (
    SELECT other.id
    FROM movable
    JOIN /* schema */river_job AS other
        ON other.unique_key = movable.unique_key
        AND other.unique_key IS NOT NULL
        AND other.unique_states IS NOT NULL
        AND /* schema */river_job_state_in_bitmask(other.unique_states, other.state)
    WHERE other.id <> movable.id
      AND /* schema */river_job_state_in_bitmask(movable.unique_states, 'available')
),
retried AS (
    UPDATE /* schema */river_job AS job
    SET state = 'available',
        max_attempts = CASE WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1
                            ELSE job.max_attempts END,
        finalized_at = NULL,
        scheduled_at = now()
    FROM movable
    WHERE job.id = movable.id
      AND NOT EXISTS (SELECT FROM holder)
    RETURNING to_json(job)::text AS line
)
SELECT coalesce((SELECT line FROM retried), to_json(locked)::text), (SELECT id FROM holder)
FROM locked
