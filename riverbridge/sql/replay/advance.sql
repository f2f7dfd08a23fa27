-- Moves a replay on, past its last job to its end.
UPDATE /* schema */riverbridge_replay AS replay
SET after_id = %(after_id)s::bigint,
    done = done + %(done)s::bigint,
    skipped = skipped + %(skipped)s::bigint,
    beat_at = clock_timestamp(),
    state = CASE WHEN %(after_id)s::bigint >= last_id THEN 'finished' ELSE state END,
    ended_at = CASE WHEN %(after_id)s::bigint >= last_id THEN clock_timestamp() END
WHERE id = %(id)s::bigint
RETURNING to_json(replay)::text
