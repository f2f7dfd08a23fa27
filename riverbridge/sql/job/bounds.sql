-- The lowest and the highest id of all jobs.
SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM /* schema */river_job
