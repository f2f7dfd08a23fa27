-- Who else works a bridged queue: the last owner of its running, freshly failed and freshly finished
-- jobs. A bridged queue belongs to riverbridge; a Go worker there spends attempts on kinds it does not
-- know, and where it knows none of them its failures are all there is to see.
SELECT DISTINCT queue, attempted_by[array_length(attempted_by, 1)] AS owner
FROM (
    (SELECT queue, attempted_by FROM /* schema */river_job
     WHERE state = 'running' AND queue = ANY (%(queues)b::text[]) LIMIT 1000)
    UNION ALL
    -- Those due soonest, of each queue, which the index gives in order: whoever has just begun to
    -- spend attempts has its failures there.
    (SELECT failed.queue, failed.attempted_by
     FROM unnest(%(queues)b::text[]) AS bridged (name)
     CROSS JOIN LATERAL (
         SELECT queue, attempted_by, attempted_at FROM /* schema */river_job
         WHERE state = 'retryable' AND queue = bridged.name
         ORDER BY priority, scheduled_at, id LIMIT 1000
     ) AS failed
     WHERE failed.attempted_at > now() - interval '1 minute')
    UNION ALL
    (SELECT queue, attempted_by FROM /* schema */river_job
     WHERE state = 'completed' AND finalized_at > now() - interval '1 minute'
       AND queue = ANY (%(queues)b::text[])
     ORDER BY finalized_at DESC LIMIT 1000)
) AS lately
WHERE attempted_by[array_length(attempted_by, 1)] IS NOT NULL
  AND attempted_by[array_length(attempted_by, 1)] NOT LIKE 'riverbridge\_%%'
