-- The jobs of a state that are due first in each queue and priority, by id: where so many are in that
-- state that they cannot be put in order, these are the oldest but for jobs that were made to wait.
WITH RECURSIVE place (queue) AS (
    (SELECT queue FROM /* schema */river_job
     WHERE state = (%(states)b::text[])[1]::/* schema */river_job_state ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM /* schema */river_job
            WHERE state = (%(states)b::text[])[1]::/* schema */river_job_state
              AND queue > place.queue ORDER BY queue LIMIT 1)
    FROM place
    WHERE place.queue IS NOT NULL
)
SELECT to_json(first)::text
FROM (SELECT queue FROM place WHERE queue IS NOT NULL LIMIT 1000) AS place
CROSS JOIN generate_series(1, 4) AS level (priority)
CROSS JOIN LATERAL (
    SELECT job.*
    FROM /* schema */river_job AS job
    WHERE
        /* include job/filter */
        AND job.queue = place.queue
        AND job.priority = level.priority
    ORDER BY job.scheduled_at, job.id
    LIMIT %(limit)s::int
) AS first
ORDER BY first.id
LIMIT %(limit)s::int
