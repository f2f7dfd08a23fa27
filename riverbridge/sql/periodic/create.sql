-- In order of id, as two leaders may do it at once and wait for each other's rows.
INSERT INTO /* schema */riverbridge_periodic_job (id, schedule, next_run_at)
SELECT id, schedule, next_run_at
FROM unnest(%(ids)b::text[], %(schedules)b::text[], %(next_runs)b::timestamptz[])
    AS new (id, schedule, next_run_at)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id
