-- Locks one job that has not ended and is not at work, whatever its time and queue: the columns
-- of a claim.
SELECT /* include job/claimed */
FROM /* schema */river_job
WHERE id = %(id)s::bigint
  AND state IN ('available', 'pending', 'retryable', 'scheduled')
FOR UPDATE
