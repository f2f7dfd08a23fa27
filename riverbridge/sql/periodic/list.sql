SELECT
    id,
    schedule,
    to_json(next_run_at) #>> '{}',
    to_json(created_at) #>> '{}',
    to_json(updated_at) #>> '{}',
    to_json(paused_at) #>> '{}',
    to_json(asked_at) #>> '{}'
FROM /* schema */riverbridge_periodic_job
WHERE %(id)s::text IS NULL OR id = %(id)s::text
ORDER BY next_run_at, id
LIMIT %(limit)s::int
