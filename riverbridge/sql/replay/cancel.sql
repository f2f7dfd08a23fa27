UPDATE /* schema */riverbridge_replay AS replay
SET state = 'cancelled', ended_at = clock_timestamp()
WHERE id = %(id)s::bigint AND state = 'open'
RETURNING to_json(replay)::text
