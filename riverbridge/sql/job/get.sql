SELECT to_json(job)::text
FROM /* schema */river_job AS job
WHERE job.id = %(id)s::bigint
