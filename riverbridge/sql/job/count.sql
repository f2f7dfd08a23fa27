-- How many jobs match all that is given. Counting stops at a limit: beyond it the answer says "at
-- least".
SELECT count(*)
FROM (
    SELECT
    FROM /* schema */river_job AS job
    WHERE
        /* include job/filter */
    LIMIT %(limit)s::bigint
) AS found
