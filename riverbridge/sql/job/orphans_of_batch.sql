-- Locks the rows of a batch that are still leased as it left them, to be settled by what its receiver
-- says of it. A row that somebody has in hand waits for the next look.
SELECT /* include job/claimed */,
       attempted_at, attempted_by[array_length(attempted_by, 1)] AS owner,
       jsonb_typeof(metadata) = 'object' AND metadata ? 'cancel_attempted_at' AS cancel_marked,
       0::bigint AS rescues
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND state = 'running'
  AND attempted_at = %(leased_at)s
  AND attempted_by[array_length(attempted_by, 1)] = %(leased_by)s
ORDER BY id
FOR UPDATE
