-- Deletes a job unless it is running; the row as it was, and whether it is running (contract 3.7).
WITH locked AS (
    SELECT * FROM /* schema */river_job WHERE id = %(id)s::bigint FOR UPDATE
),
deleted AS (
    DELETE FROM /* schema */river_job AS job
    USING locked
    WHERE job.id = locked.id AND locked.state <> 'running'
)
SELECT to_json(locked)::text, locked.state = 'running'
FROM locked
