-- What was committed meanwhile with an id that was missing.
SELECT /* include job/claimed */
FROM unnest(%(lows)b::bigint[], %(highs)b::bigint[]) AS gap (low, high)
CROSS JOIN LATERAL (
    SELECT *
    FROM /* schema */river_job
    WHERE id BETWEEN gap.low AND gap.high
      AND state = 'available'
      AND /* include order/mine */
    ORDER BY id
) AS job
LIMIT %(limit)s
