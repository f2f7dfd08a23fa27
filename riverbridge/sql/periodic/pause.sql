UPDATE /* schema */riverbridge_periodic_job
SET paused_at = coalesce(paused_at, now())
WHERE id = %(id)s::text
RETURNING id
