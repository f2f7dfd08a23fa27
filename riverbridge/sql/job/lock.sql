-- The next jobs by id that match all that is given, locked. A row that somebody has in work is left
-- out, as in River's JobDeleteMany (contract 3.7).
SELECT job.id
FROM /* schema */river_job AS job
WHERE
    /* include job/filter */
    AND job.id > %(after_id)s::bigint
ORDER BY job.id
LIMIT %(limit)s::int
FOR UPDATE SKIP LOCKED
