-- Makes jobs available now, unless they are running, or available and due already (contract 3.6). One
-- whose unique key another job holds, or an earlier one of these will, is not changed, and that job's
-- id is given: the index would refuse, and with it the caller's whole transaction.
WITH locked AS (
    SELECT * FROM /* schema */river_job WHERE id = ANY (%(ids)b::bigint[]) ORDER BY id FOR UPDATE
),
movable AS (
    SELECT id,
           CASE WHEN /* schema */river_job_state_in_bitmask(unique_states, 'available')
                THEN unique_key END AS key
    FROM locked
    WHERE state <> 'running' AND NOT (state = 'available' AND scheduled_at < now())
),
judged AS (
    SELECT job.id,
           CASE WHEN job.key IS NOT NULL THEN coalesce(
               holder.id,
               nullif(first_value(job.id) OVER (PARTITION BY job.key ORDER BY job.id), job.id)
           ) END AS holder_id
    FROM movable AS job
    /* include job/holder */
),
retried AS (
    UPDATE /* schema */river_job AS job
    SET state = 'available',
        max_attempts = CASE WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1
                            ELSE job.max_attempts END,
        finalized_at = NULL,
        scheduled_at = now()
    FROM judged
    WHERE job.id = judged.id
      AND judged.holder_id IS NULL
    RETURNING job.id, to_json(job)::text AS line
)
SELECT coalesce(retried.line, to_json(locked)::text), judged.holder_id
FROM locked
LEFT JOIN retried USING (id)
LEFT JOIN judged USING (id)
ORDER BY id
