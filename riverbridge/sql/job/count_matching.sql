-- How many jobs of a range of ids match a search.
SELECT count(*)
FROM /* schema */river_job AS job
WHERE job.id BETWEEN %(low)s::bigint AND %(high)s::bigint
AND
/* include job/indexed */
AND
/* include job/named */
AND
/* include job/read */
