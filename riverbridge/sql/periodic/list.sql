SELECT id, schedule, to_json(next_run_at) #>> '{}', to_json(created_at) #>> '{}', to_json(updated_at) #>> '{}'
FROM /* schema */riverbridge_periodic_job
ORDER BY next_run_at, id
LIMIT %(limit)s::int
