-- The jobs that were made of events, how many of them a worker has worked, and how many one in Go.
SELECT
    count(*),
    count(*) FILTER (WHERE state = 'completed'),
    count(*) FILTER (WHERE state = 'completed' AND attempted_by[array_upper(attempted_by, 1)] = %(go)s)
FROM /* schema */river_job
WHERE kind = %(kind)s
