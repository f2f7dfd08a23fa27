-- How many jobs match a search, counted up to a limit.
SELECT count(*)
FROM (
    SELECT
    FROM /* schema */river_job AS job
    WHERE
    /* include job/indexed */
    AND
    /* include job/named */
    AND
    /* include job/read */
    LIMIT %(limit)s::bigint
) AS found
