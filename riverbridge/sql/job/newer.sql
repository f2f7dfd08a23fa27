-- The ids above one, lowest first, from the index alone.
SELECT id
FROM /* schema */river_job
WHERE id > %(after_id)s::bigint
ORDER BY id
LIMIT %(limit)s::int
