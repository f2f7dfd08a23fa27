-- The latest first.
SELECT to_json(replay)::text
FROM /* schema */riverbridge_replay AS replay
ORDER BY id DESC
LIMIT %(limit)s::int
