-- The next jobs that keep their key from others.
SELECT /* include job/claimed */
FROM /* schema */river_job
WHERE state IN ('running', 'retryable', 'scheduled', 'pending')
  AND /* include order/mine */
  AND /* include order/holds */
  AND id > %(after_id)s::bigint
ORDER BY id
LIMIT %(limit)s
