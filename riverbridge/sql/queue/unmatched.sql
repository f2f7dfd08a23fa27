-- Among the due jobs that are next in a queue, up to a limit, those whose kind no route takes. The
-- limit holds for what is read, not for what is found: behind a backlog of millions this would else
-- take longer than a heartbeat may wait. What nobody takes soon is what is next.
SELECT count(*) AS unmatched, coalesce(extract(epoch FROM now() - min(scheduled_at)), 0)::float8 AS oldest_seconds
FROM (
    SELECT kind, greatest(scheduled_at, '0001-01-02Z') AS scheduled_at
    FROM /* schema */river_job
    WHERE state = 'available'
      AND queue = %(queue)s
      AND priority BETWEEN 1 AND 4
      AND river_job.scheduled_at <= now()
    ORDER BY priority, river_job.scheduled_at, id
    LIMIT %(limit)s
) AS waiting
WHERE NOT kind LIKE ANY (%(kinds)b::text[])
