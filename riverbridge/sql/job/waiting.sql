-- Of some jobs those that are still due, each with the seconds since then.
SELECT id, extract(epoch FROM now() - greatest(scheduled_at, '0001-01-02Z'))::float8 AS due_for
FROM /* schema */river_job
WHERE id = ANY (%(ids)b::bigint[])
  AND state = 'available'
  AND scheduled_at <= now()
