-- SKIP LOCKED, where River waits: a row that an application's open transaction holds (a cancel, a
-- retry) stays for the next round and does not stop all the others.
WITH due AS MATERIALIZED (
    SELECT id, queue, priority, scheduled_at, unique_key, unique_states
    FROM /* schema */river_job
    WHERE
        state IN ('retryable', 'scheduled')
        -- Always true; with them the index for claiming covers the search (contract 3.8).
        AND priority >= 0
        AND queue IS NOT NULL
        AND scheduled_at <= now() + %(look_ahead)s::interval
    ORDER BY priority, scheduled_at, id
    LIMIT %(limit)s::bigint
    FOR UPDATE SKIP LOCKED
),
-- The unique index holds at most one row per key, so the join adds no rows.
judged AS (
    SELECT
        due.id,
        due.unique_key IS NOT NULL
        AND due.unique_states IS NOT NULL
        AND (
            row_number() OVER (
                PARTITION BY due.unique_key
                ORDER BY due.priority, due.scheduled_at, due.id
            ) > 1
            OR bool_or(coalesce(holder.id <> due.id, false)) OVER (PARTITION BY due.unique_key)
        ) AS superfluous
    FROM due
    LEFT JOIN /* schema */river_job AS holder
        ON holder.unique_key = due.unique_key
        AND holder.unique_key IS NOT NULL
        AND holder.unique_states IS NOT NULL
        AND /* schema */river_job_state_in_bitmask(holder.unique_states, holder.state)
),
moved AS (
    UPDATE /* schema */river_job AS job
    SET
        state = CASE
            WHEN judged.superfluous THEN 'discarded'::/* schema */river_job_state
            ELSE 'available'::/* schema */river_job_state
        END,
        finalized_at = CASE
            WHEN judged.superfluous THEN now() + %(look_ahead)s::interval
            ELSE job.finalized_at
        END,
        metadata = CASE
            WHEN judged.superfluous
                THEN job.metadata || '{"unique_key_conflict": "scheduler_discarded"}'::jsonb
            ELSE job.metadata
        END,
        -- Position 4 is `discarded`. A job that would keep its key while discarded cannot be
        -- discarded beside the key's holder: River's statement fails there, for the whole batch and
        -- every time. It gives up that one claim on the key instead.
        unique_states = CASE
            WHEN judged.superfluous THEN set_bit(job.unique_states, 4, 0)
            ELSE job.unique_states
        END
    FROM judged
    WHERE job.id = judged.id
    RETURNING job.id, job.queue, job.scheduled_at, judged.superfluous
)
SELECT
    count(*),
    coalesce(array_agg(id ORDER BY id) FILTER (WHERE superfluous), '{}'),
    coalesce(
        array_agg(DISTINCT queue) FILTER (
            WHERE NOT superfluous AND scheduled_at <= clock_timestamp() + interval '5 ms'
        ),
        '{}'
    )
FROM moved
