-- The queues or kinds with most jobs since an instant.
SELECT name
FROM /* schema */riverbridge_history
WHERE step = %(step)s::int
  AND at >= %(since)s::timestamptz
  AND facet = %(facet)s::text
GROUP BY name
ORDER BY sum(inserted) + sum(completed) + sum(failed) + coalesce(max(available), 0) DESC, name
LIMIT %(limit)s::int
