-- The first operation that is open and that nobody runs, or whose runner has fallen silent; or the
-- runner's own.
UPDATE /* schema */riverbridge_operation AS operation
SET runner = %(runner)s::text,
    beat_at = clock_timestamp()
WHERE id = (
    SELECT id
    FROM /* schema */riverbridge_operation
    WHERE state = 'open'
      AND (runner IS NULL OR runner = %(runner)s::text
           OR beat_at < clock_timestamp() - make_interval(secs => %(silence)s::float8))
    ORDER BY id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING to_json(operation)::text
