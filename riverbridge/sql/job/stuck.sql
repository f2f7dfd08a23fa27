-- River's search for stuck jobs (contract 3.9). A cancel mark counts as River's rescuer reads it: any
-- value but null and Go's zero time. Nothing is cast, and an instant that Python cannot hold is passed
-- over, so that no single row can spoil the search. What a process of ours has is its own to finish,
-- however long that takes, and once it is silent its fellows see to it.
SELECT
    /* include job/claimed */,
    attempted_at,
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
    AND NOT EXISTS (
        SELECT FROM /* schema */riverbridge_process AS process
        WHERE process.id = attempted_by[array_length(attempted_by, 1)]
    )
ORDER BY id
LIMIT %(limit)s::bigint
