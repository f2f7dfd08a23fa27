UPDATE /* schema */riverbridge_periodic_job AS job
SET
    schedule = run.schedule,
    next_run_at = run.next_run_at,
    asked_at = NULL,
    updated_at = now()
FROM unnest(%(ids)b::text[], %(schedules)b::text[], %(next_runs)b::timestamptz[])
    AS run (id, schedule, next_run_at)
WHERE job.id = run.id
