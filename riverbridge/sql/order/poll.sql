-- Of these jobs, those that still keep their key from others. `ready`: it may be claimed now.
SELECT id, state = 'available' AND scheduled_at <= now() AS ready, state = 'running' AS out
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND /* include order/mine */
  AND (state = 'available' OR /* include order/holds */)
