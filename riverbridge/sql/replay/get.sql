SELECT to_json(replay)::text
FROM /* schema */riverbridge_replay AS replay
WHERE id = %(id)s::bigint
