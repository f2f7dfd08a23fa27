SELECT /* include job/claimed */
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND state = 'available'
  AND /* include order/mine */
ORDER BY id
