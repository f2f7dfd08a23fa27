-- Every queue that has a row or jobs to be done, with its jobs by state, counted up to a limit, and for
-- how long the first of them that are due has waited: read by the index for fetching, priority by
-- priority.
WITH RECURSIVE
/* include queue/available */,
names AS (
    SELECT queue FROM found WHERE queue IS NOT NULL
    UNION
    SELECT name FROM /* schema */river_queue
    ORDER BY 1
    LIMIT %(queues)s::int
)
SELECT names.queue,
       row_of.paused_at,
       row_of.created_at,
       row_of.updated_at,
       counts.available,
       counts.running,
       counts.retryable,
       counts.scheduled,
       extract(epoch FROM now() - oldest.due)::float8 AS oldest_seconds
FROM names
LEFT JOIN /* schema */river_queue AS row_of ON row_of.name = names.queue
CROSS JOIN LATERAL (
    SELECT min(first.scheduled_at) AS due
    FROM generate_series(1, 4) AS level
    CROSS JOIN LATERAL (
        SELECT job.scheduled_at
        FROM /* schema */river_job AS job
        WHERE job.state = 'available' AND job.queue = names.queue AND job.priority = level
          AND job.scheduled_at <= now() AND job.scheduled_at > '0001-01-02Z'
        ORDER BY job.scheduled_at
        LIMIT 1
    ) AS first
) AS oldest
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'available') AS available,
           count(*) FILTER (WHERE state = 'running') AS running,
           count(*) FILTER (WHERE state = 'retryable') AS retryable,
           count(*) FILTER (WHERE state = 'scheduled') AS scheduled
    FROM unnest('{available,running,retryable,scheduled}'::/* schema */river_job_state[]) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT job.state
        FROM /* schema */river_job AS job
        WHERE job.state = wanted.name AND job.queue = names.queue
        LIMIT %(limit)s::bigint + 1
    ) AS counted_rows
) AS counts
ORDER BY names.queue
