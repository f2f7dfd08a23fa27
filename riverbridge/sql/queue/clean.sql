-- The lock has the condition judged again, so a queue that a worker just reported stays.
DELETE FROM /* schema */river_queue
WHERE name = ANY(ARRAY(
    SELECT name
    FROM /* schema */river_queue
    WHERE updated_at < now() - %(keep)s::interval
    ORDER BY name
    LIMIT %(limit)s::bigint
    FOR UPDATE SKIP LOCKED
))
RETURNING name
