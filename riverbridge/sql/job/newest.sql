-- The jobs inserted last, newest first.
SELECT /* include job/claimed */
FROM /* schema */river_job
ORDER BY id DESC
LIMIT %(limit)s
