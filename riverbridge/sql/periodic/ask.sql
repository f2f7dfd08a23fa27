UPDATE /* schema */riverbridge_periodic_job
SET asked_at = coalesce(asked_at, now())
WHERE id = %(id)s::text
RETURNING id
