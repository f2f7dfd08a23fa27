-- Ends an operation that is open: cancelled by somebody, or failed for good.
UPDATE /* schema */riverbridge_operation AS operation
SET state = %(state)s::text,
    error = %(error)s::text,
    ended_at = clock_timestamp()
WHERE id = %(id)s::bigint AND state = 'open'
RETURNING to_json(operation)::text
