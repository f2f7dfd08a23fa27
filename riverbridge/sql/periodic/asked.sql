SELECT id
FROM /* schema */riverbridge_periodic_job
WHERE id = ANY(%(ids)b::text[]) AND asked_at IS NOT NULL
