-- Starts an operation up to the last job there is now; one that the same form has started stays as it
-- is, and is what comes back.
INSERT INTO /* schema */riverbridge_operation AS operation
    (key, action, search, job_state, started_by, role, way, total, last_id)
VALUES (%(key)s, %(action)s, %(search)s, %(job_state)s, %(started_by)s, %(role)s, %(way)s, %(total)s::bigint,
        coalesce((SELECT max(id) FROM /* schema */river_job), 0))
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING to_json(operation)::text, xmax = 0
