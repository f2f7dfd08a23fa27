SELECT to_json(operation)::text
FROM /* schema */riverbridge_operation AS operation
ORDER BY id DESC
LIMIT %(limit)s::int
