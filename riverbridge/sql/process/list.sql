-- Who works on this database: the processes that say so themselves, and those that are seen by the jobs
-- they run, such as Go's.
WITH busy AS (
    SELECT attempted_by[array_upper(attempted_by, 1)] AS id, count(*) AS jobs,
           min(attempted_at) AS oldest, array_agg(DISTINCT queue) AS queues
    FROM (
        SELECT attempted_by, attempted_at, queue
        FROM /* schema */river_job
        WHERE state = 'running'
        LIMIT %(limit)s::bigint
    ) AS running
    GROUP BY 1
)
SELECT coalesce(process.id, busy.id),
       process.host,
       process.pid,
       process.version,
       coalesce(process.queues, busy.queues),
       process.started_at,
       extract(epoch FROM now() - process.heartbeat_at)::float8,
       coalesce(busy.jobs, 0),
       extract(epoch FROM now() - busy.oldest)::float8
FROM /* schema */riverbridge_process AS process
FULL JOIN busy ON busy.id = process.id
WHERE coalesce(process.id, busy.id) IS NOT NULL
ORDER BY process.heartbeat_at DESC NULLS LAST, 1
LIMIT 1000
