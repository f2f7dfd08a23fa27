-- How many jobs wait in each queue and for how long the oldest is due, and how many of them no route
-- takes. Counting stops at a limit: beyond it the answer says "at least".
SELECT queue, count(*) AS available,
       coalesce(extract(epoch FROM now() - min(scheduled_at)), 0)::float8 AS oldest_seconds
FROM (
    SELECT queue, greatest(scheduled_at, '0001-01-02Z') AS scheduled_at
    FROM /* schema */river_job
    WHERE state = 'available'
      AND queue = %(queue)s
      AND priority BETWEEN 1 AND 4
      AND scheduled_at <= now()
    LIMIT %(limit)s
) AS waiting
GROUP BY queue
