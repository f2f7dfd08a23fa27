UPDATE /* schema */riverbridge_replay AS replay
SET runner = NULL
WHERE id = %(id)s::bigint AND runner = %(runner)s::text
RETURNING to_json(replay)::text
