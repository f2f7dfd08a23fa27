-- A row that another leader has in hand is left to it. Without zone, as a session's own may push an
-- instant past the year 9999, which Python cannot hold.
SELECT
    id,
    schedule,
    next_run_at AT TIME ZONE 'UTC',
    updated_at < now() - interval '1 hour',
    paused_at IS NOT NULL,
    asked_at IS NOT NULL
FROM /* schema */riverbridge_periodic_job
WHERE id = ANY(%(ids)b::text[])
ORDER BY id
FOR UPDATE SKIP LOCKED
