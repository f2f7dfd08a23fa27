-- The jobs that were made of events, and how many of them a worker has worked.
SELECT count(*), count(*) FILTER (WHERE state = 'completed')
FROM /* schema */river_job
WHERE queue = %(queue)s
