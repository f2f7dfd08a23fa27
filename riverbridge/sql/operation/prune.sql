-- Those that have ended, whenever they were started. People start them, so there are few to look at.
DELETE FROM /* schema */riverbridge_operation
WHERE id = ANY(ARRAY(
    SELECT operation.id
    FROM /* schema */riverbridge_operation AS operation
    WHERE operation.ended_at < now() - %(keep)s::interval
    ORDER BY operation.id
    LIMIT %(limit)s::bigint
))
