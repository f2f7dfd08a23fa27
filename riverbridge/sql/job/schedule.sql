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
-- The unique index holds at most one row per key, so the join adds no rows. As in River, rows that hold
-- no key (`unique_states` is null) count in the order of those with the same one: not job/holder.
judged AS MATERIALIZED (
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
