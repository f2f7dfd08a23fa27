-- River's search for stuck jobs (contract 3.9). A cancel mark counts as River's rescuer reads it: any
-- value but null and Go's zero time. Nothing is cast, and an instant that Python cannot hold is passed
-- over, so that no single row can spoil the search.
SELECT
    id,
    kind,
    attempt,
    max_attempts,
    attempted_at,
    coalesce(array_length(errors, 1), 0),
    extract(epoch FROM now() - attempted_at)::float8,
    CASE jsonb_typeof(metadata)
        WHEN 'object' THEN coalesce(
            metadata ->> 'cancel_attempted_at' <> '0001-01-01T00:00:00Z', false
        )
        ELSE false
    END
FROM /* schema */river_job
WHERE
    state = 'running'
    AND id > %(after_id)s::bigint
    AND attempted_at < now() - %(after)s::interval
    AND attempted_at > '0001-01-02 00:00:00Z'
ORDER BY id
LIMIT %(limit)s::bigint
