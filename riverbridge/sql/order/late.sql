-- What was committed meanwhile with an id that was missing. Found by id alone (OFFSET keeps the other
-- conditions out), or the planner may read all that is available in the queue for each gap.
SELECT /* include job/claimed */
FROM unnest(%(lows)b::bigint[], %(highs)b::bigint[]) AS gap (low, high)
CROSS JOIN LATERAL (
    SELECT * FROM /* schema */river_job WHERE id BETWEEN gap.low AND gap.high OFFSET 0
) AS job
WHERE state = 'available'
  AND /* include order/mine */
LIMIT %(limit)s
