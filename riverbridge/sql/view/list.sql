SELECT to_json(kept)::text
FROM /* schema */riverbridge_view AS kept
ORDER BY lower(name), id
