SELECT coalesce(max(id), 0) FROM /* schema */river_job
