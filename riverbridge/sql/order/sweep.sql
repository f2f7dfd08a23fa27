-- The ids up to `cursor` that are available and became so in a transaction that was not over at the
-- last sweep, which found `since`: jobs that had to wait for their time, that somebody retries, that
-- were committed late.
SELECT id
FROM /* schema */river_job
WHERE state = 'available'
  AND /* include order/mine */
  AND id <= %(cursor)s::bigint
  AND (%(since)s::bigint = 0
       OR age(xmin) <= pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %(since)s::bigint)
ORDER BY id
