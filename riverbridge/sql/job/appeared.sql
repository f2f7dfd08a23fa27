-- The ids that are there now, of those that were not.
SELECT job.id
FROM unnest(%(lows)b::bigint[], %(highs)b::bigint[]) AS gap (low, high)
CROSS JOIN LATERAL (
    SELECT id FROM /* schema */river_job WHERE id BETWEEN gap.low AND gap.high OFFSET 0
) AS job
ORDER BY job.id
LIMIT %(limit)s::int
