UPDATE /* schema */riverbridge_periodic_job
SET paused_at = NULL
WHERE id = %(id)s::text
RETURNING id
