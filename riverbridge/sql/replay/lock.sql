-- Locks finished jobs. One that somebody else has locked, or that has changed, is not returned.
SELECT id
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND state IN ('cancelled', 'completed', 'discarded')
  AND finalized_at < %(started_at)s::timestamptz
ORDER BY id
FOR UPDATE SKIP LOCKED
