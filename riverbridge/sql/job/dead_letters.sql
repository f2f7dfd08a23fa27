-- The newest discarded jobs, as their index has them, and of these the ones that match, by kind and
-- the first line of their last error. The first row is none: it says how many were looked at.
SELECT NULL::text AS kind, NULL::text AS error, count(*)::bigint AS jobs, NULL::text AS newest,
       NULL::bigint AS id
FROM (
    SELECT
    FROM /* schema */river_job
    WHERE state = 'discarded' AND finalized_at IS NOT NULL
    ORDER BY finalized_at DESC
    LIMIT %(window)s::int + 1
) AS counted
UNION ALL
SELECT kind, error, count(*)::bigint, to_json(max(finalized_at)) #>> '{}',
       (array_agg(id ORDER BY finalized_at DESC, id DESC))[1]
FROM (
    SELECT job.id, job.kind, job.finalized_at,
           left(split_part(
               ltrim(job.errors[array_upper(job.errors, 1)] ->> 'error', E' \t\r\n'), E'\n', 1
           ), 300) AS error
    FROM (
        SELECT *
        FROM /* schema */river_job
        WHERE state = 'discarded' AND finalized_at IS NOT NULL
        ORDER BY finalized_at DESC
        LIMIT %(window)s::int
    ) AS job
    WHERE
    /* include job/indexed */
    AND (
    /* include job/named */
    )
    AND (
    /* include job/read */
    )
) AS letter
GROUP BY kind, error
