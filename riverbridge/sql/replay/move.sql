-- Makes locked jobs available as River's JobRetry does (contract 3.6), marked as a replay. What is
-- remembered of the last delivery is forgotten, but for the sinks that are not to get it again, and so
-- is a cancel that was asked for: it would end the job at its first failure. One whose unique key
-- another job holds, or an earlier one of these will, is not changed, and that job's id is given; nor
-- is one whose metadata is no object, as it cannot be marked. `queue` is null for those.
WITH judged AS MATERIALIZED (
    SELECT job.id, job.key, job.markable,
           CASE WHEN job.key IS NOT NULL THEN coalesce(
               holder.id,
               nullif(first_value(job.id) OVER (PARTITION BY job.key, job.markable ORDER BY job.id), job.id)
           ) END AS holder_id
    FROM (
        SELECT id, jsonb_typeof(metadata) = 'object' AS markable,
               CASE WHEN /* schema */river_job_state_in_bitmask(unique_states, 'available')
                    THEN unique_key END AS key
        FROM /* schema */river_job
        WHERE id = ANY (%(ids)b::bigint[])
    ) AS job
    /* include job/holder */
),
moved AS (
    UPDATE /* schema */river_job AS job
    SET state = 'available',
        max_attempts = CASE WHEN job.attempt >= job.max_attempts
                            THEN least(job.attempt::int + 1, 32767) ELSE job.max_attempts END,
        finalized_at = NULL,
        scheduled_at = now(),
        metadata = job.metadata
            - '{riverbridge:delivered,riverbridge:parked,cancel_attempted_at}'::text[]
            || jsonb_build_object('riverbridge:replay', CASE
                WHEN jsonb_typeof(job.metadata -> 'riverbridge:replay') = 'number'
                     AND job.metadata ->> 'riverbridge:replay' ~ '^[0-9]{1,8}$'
                THEN (job.metadata ->> 'riverbridge:replay')::int + 1 ELSE 1 END)
            || CASE WHEN route.delivered IS NULL THEN '{}'
                    ELSE jsonb_build_object('riverbridge:delivered', route.delivered::jsonb) END
    FROM judged, unnest(%(sinks_of)b::text[], %(delivered)b::text[]) AS route (name, delivered)
    WHERE job.id = judged.id
      AND judged.markable
      AND judged.holder_id IS NULL
      AND route.name = /* include replay/route */
    RETURNING job.id, job.queue
)
SELECT judged.id, moved.queue, judged.holder_id, judged.markable
FROM judged
LEFT JOIN moved USING (id)
ORDER BY judged.id
