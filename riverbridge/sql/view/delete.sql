DELETE FROM /* schema */riverbridge_view AS kept
WHERE id = %(id)s::bigint
RETURNING to_json(kept)::text
