-- The queues with available jobs: one probe of the index for each queue, however many jobs it has.
-- River keeps no list of them; river_queue has the queues that workers asked for.
WITH RECURSIVE found (queue) AS (
    (SELECT queue FROM /* schema */river_job
     WHERE state = 'available' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM /* schema */river_job
            WHERE state = 'available' AND queue > found.queue ORDER BY queue LIMIT 1)
    FROM found
    WHERE found.queue IS NOT NULL
)
SELECT queue FROM found WHERE queue IS NOT NULL
LIMIT 10000
