-- SKIP LOCKED, where River waits: a row that an application's open transaction holds (a cancel, a
-- retry) stays for the next round and does not stop all the others.
WITH due AS MATERIALIZED (
    SELECT id, queue, priority, scheduled_at,
           CASE WHEN unique_states IS NOT NULL THEN unique_key END AS key
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
judged AS MATERIALIZED (
    SELECT
        job.id,
        job.key IS NOT NULL
        AND (
            row_number() OVER (
                PARTITION BY job.key ORDER BY job.priority, job.scheduled_at, job.id
            ) > 1
            OR bool_or(holder.id IS NOT NULL) OVER (PARTITION BY job.key)
        ) AS superfluous
    FROM due AS job
    /* include job/holder */
),
-- Arrays, not joins: the planner expects as many rows as the limit allows, and for those it would
-- read the whole table, even when only one job is due.
ready AS (
    UPDATE /* schema */river_job
    SET state = 'available'
    WHERE id = ANY(ARRAY(SELECT id FROM judged WHERE NOT superfluous))
    RETURNING queue, scheduled_at
),
discarded AS (
    UPDATE /* schema */river_job
    SET
        state = 'discarded',
        finalized_at = now() + %(look_ahead)s::interval,
        metadata = metadata || '{"unique_key_conflict": "scheduler_discarded"}'::jsonb,
        -- Position 4 is `discarded`. A job that would keep its key while discarded cannot be
        -- discarded beside the key's holder: River's statement fails there, for the whole batch and
        -- every time. It gives up that one claim on the key instead.
        unique_states = set_bit(unique_states, 4, 0)
    WHERE id = ANY(ARRAY(SELECT id FROM judged WHERE superfluous))
    RETURNING id
)
SELECT
    (SELECT count(*) FROM ready) + (SELECT count(*) FROM discarded),
    ARRAY(SELECT id FROM discarded ORDER BY id),
    ARRAY(
        SELECT DISTINCT queue
        FROM ready
        WHERE scheduled_at <= clock_timestamp() + interval '5 ms'
    )
