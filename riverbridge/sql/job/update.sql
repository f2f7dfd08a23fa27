-- Merges keys into a job's metadata, whatever its state (contract 3.11).
UPDATE /* schema */river_job AS job
SET metadata = job.metadata || %(metadata)s::text::jsonb
WHERE job.id = %(id)s::bigint
RETURNING to_json(job)::text
