-- How many jobs of each queue are available, due or not, and how many run, counted up to a limit.
SELECT wanted.queue, wanted.state, (
    SELECT count(*)
    FROM (
        SELECT
        FROM /* schema */river_job AS job
        WHERE job.state = wanted.state::/* schema */river_job_state
          AND job.queue = wanted.queue
        ORDER BY job.priority, job.scheduled_at, job.id
        LIMIT %(limit)s::int
    ) AS found
)
FROM (
    SELECT queue, state
    FROM unnest(%(queues)b::text[]) AS queue
    CROSS JOIN unnest(ARRAY['available', 'running']) AS state
) AS wanted
