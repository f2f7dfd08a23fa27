SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE finalized_at IS NULL)
FROM /* schema */river_job
WHERE queue = %(queue)s
