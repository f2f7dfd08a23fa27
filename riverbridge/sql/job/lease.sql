-- Turns locked rows into leases: what River's fetch leaves (T4). The commit makes them visible as
-- running; from then on attempted_by, attempt and attempted_at are the fence.
UPDATE /* schema */river_job AS job
SET state = 'running',
    attempt = least(job.attempt + 1, 32767),
    attempted_at = now(),
    attempted_by = CASE WHEN array_length(job.attempted_by, 1) >= 100
                        THEN array_append(job.attempted_by[array_length(job.attempted_by, 1) - 98:], %(client)s::text)
                        ELSE array_append(job.attempted_by, %(client)s::text) END
WHERE id = ANY (%(ids)b::bigint[])
RETURNING job.id, job.attempt, job.attempted_at
