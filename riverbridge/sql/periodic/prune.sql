DELETE FROM /* schema */riverbridge_periodic_job
WHERE
    updated_at < now() - %(keep)s::interval
    AND id <> ALL(%(known)b::text[])
RETURNING id
