-- Locks a replay for the batch of its runner.
SELECT to_json(replay)::text
FROM /* schema */riverbridge_replay AS replay
WHERE id = %(id)s::bigint AND state = 'open' AND runner = %(runner)s::text
FOR UPDATE
