-- Due jobs of a queue whose kind no route takes; counted up to a limit.
SELECT count(*) AS unmatched, coalesce(extract(epoch FROM now() - min(scheduled_at)), 0)::float8 AS oldest_seconds
FROM (
    SELECT greatest(scheduled_at, '0001-01-02Z') AS scheduled_at
    FROM /* schema */river_job
    WHERE state = 'available'
      AND queue = %(queue)s
      AND scheduled_at <= now()
      AND NOT kind LIKE ANY (%(kinds)b::text[])
    LIMIT %(limit)s
) AS left_over
