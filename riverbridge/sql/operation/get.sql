SELECT to_json(operation)::text
FROM /* schema */riverbridge_operation AS operation
WHERE id = %(id)s::bigint
