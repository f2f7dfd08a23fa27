-- The jobs of one state with the lowest ids, of those that match all that is given. No index has them
-- in this order. The planner would walk by id through everything that is over to find what waits
-- behind it; so the state is read from the fetching index, up to a limit, and put in order here. The
-- first row says how many there were.
WITH of_state AS MATERIALIZED (
    SELECT job.id
    FROM /* schema */river_job AS job
    WHERE
        /* include job/filter */
    ORDER BY job.queue, job.priority, job.scheduled_at, job.id
    LIMIT %(most)s::int
)
SELECT NULL::bigint AS id, count(*)::text AS line
FROM of_state
UNION ALL
(
    SELECT job.id, to_json(job)::text
    FROM (SELECT id FROM of_state ORDER BY id LIMIT %(limit)s::int) AS first
    JOIN /* schema */river_job AS job USING (id)
)
ORDER BY id NULLS FIRST
