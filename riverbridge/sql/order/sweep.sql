-- The ids up to `cursor` that are available and became so in a transaction that was not over at the
-- last sweep, which found `since`: jobs that had to wait for their time, that somebody retries, that
-- were committed late. 0 finds all. Both ages count from the next transaction, as a snapshot's xmax does
-- not. `lately`: only what is due for no more than so many seconds. That the priority is one of four lets
-- the index find those without a look at the others.
SELECT id
FROM /* schema */river_job
WHERE state = 'available'
  AND /* include order/mine */
  AND id <= %(cursor)s::bigint
  AND priority = ANY ('{1,2,3,4}'::smallint[])
  AND scheduled_at >= CASE WHEN %(lately)s::float8 IS NULL THEN '-infinity'::timestamptz
                           ELSE now() - make_interval(secs => %(lately)s::float8) END
  AND (%(since)s::bigint = 0
       OR age(xmin) <= age((%(since)s::bigint %% 4294967296)::text::xid))
ORDER BY id
