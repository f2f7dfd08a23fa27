-- The jobs discarded within the last seconds, by queue and kind, the most first; and of the latest of
-- each its id and its last error. Read by the index on state and end, up to a limit.
WITH lately AS (
    SELECT id, queue, kind, finalized_at
    FROM /* schema */river_job
    WHERE state = 'discarded'
      AND finalized_at > now() - make_interval(secs => %(seconds)s::float8)
    ORDER BY finalized_at DESC
    LIMIT %(limit)s::bigint
),
counted AS (
    SELECT queue, kind, count(*) AS jobs, (array_agg(id ORDER BY finalized_at DESC, id DESC))[1] AS last_id
    FROM lately
    GROUP BY queue, kind
)
SELECT counted.queue, counted.kind, counted.jobs, counted.last_id,
       left(job.errors[cardinality(job.errors)] ->> 'error', %(text)s::int)
FROM counted
JOIN /* schema */river_job AS job ON job.id = counted.last_id
ORDER BY counted.jobs DESC, counted.queue, counted.kind
