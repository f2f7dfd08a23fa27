-- The jobs that keep their key from others.
SELECT id
FROM /* schema */river_job
WHERE state IN ('running', 'retryable', 'scheduled', 'pending')
  AND /* include order/mine */
  AND /* include order/holds */
