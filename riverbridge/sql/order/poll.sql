-- Of these jobs, those that still keep their key from others. `ready`: it may be claimed now. One by
-- one, since with a list of ids the planner may rather read all that is available in the queue.
SELECT job.*
FROM unnest(%(ids)b::bigint[]) AS wanted (number)
CROSS JOIN LATERAL (
    SELECT id, state = 'available' AND scheduled_at <= now() AS ready, state = 'running' AS out,
           state = 'available' AND scheduled_at > now() AS soon
    FROM /* schema */river_job
    WHERE id = wanted.number
      AND /* include order/mine */
      AND (state = 'available' OR /* include order/holds */)
) AS job
