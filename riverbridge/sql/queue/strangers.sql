-- Who else works a bridged queue: the last owner of its running and freshly finished jobs. A bridged
-- queue belongs to riverbridge; a Go worker there spends attempts on kinds it does not know.
SELECT DISTINCT queue, attempted_by[array_length(attempted_by, 1)] AS owner
FROM (
    (SELECT queue, attempted_by FROM /* schema */river_job
     WHERE state = 'running' AND queue = ANY (%(queues)b::text[]) LIMIT 1000)
    UNION ALL
    (SELECT queue, attempted_by FROM /* schema */river_job
     WHERE state = 'completed' AND finalized_at > now() - interval '1 minute'
       AND queue = ANY (%(queues)b::text[])
     ORDER BY finalized_at DESC LIMIT 1000)
) AS lately
WHERE attempted_by[array_length(attempted_by, 1)] IS NOT NULL
  AND attempted_by[array_length(attempted_by, 1)] NOT LIKE 'riverbridge\_%%'
