-- Moves an operation on, if it is open and still the runner's.
UPDATE /* schema */riverbridge_operation AS operation
SET after = %(after)s::text,
    done = done + %(done)s::bigint,
    skipped = skipped + %(skipped)s::bigint,
    beat_at = clock_timestamp(),
    state = CASE WHEN %(ended)s::boolean THEN 'finished' ELSE state END,
    ended_at = CASE WHEN %(ended)s::boolean THEN clock_timestamp() END
WHERE id = %(id)s::bigint AND state = 'open' AND runner = %(runner)s::text
RETURNING to_json(operation)::text
