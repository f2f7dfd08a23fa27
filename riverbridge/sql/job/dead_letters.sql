-- A look at discarded jobs, the newest first, as their index has them, and of these the ones that match,
-- by kind and the first line of their last error. The first row is none: it says how many were looked
-- at, and which was the last.
WITH newest AS MATERIALIZED (
    SELECT id, finalized_at
    FROM /* schema */river_job
    WHERE state = 'discarded' AND finalized_at IS NOT NULL
      AND CASE
          WHEN %(after_id)s::bigint IS NULL THEN true
          ELSE (finalized_at, id) < (%(after_time)s::text::timestamptz, %(after_id)s::bigint)
      END
    ORDER BY finalized_at DESC, id DESC
    LIMIT %(window)s::int
)
SELECT NULL::text AS kind, NULL::text AS error, count(*)::bigint AS jobs,
       min(finalized_at)::text AS newest, (array_agg(id ORDER BY finalized_at, id))[1] AS id
FROM newest
UNION ALL
SELECT kind, error, count(*)::bigint, to_json(max(finalized_at)) #>> '{}',
       (array_agg(id ORDER BY finalized_at DESC, id DESC))[1]
FROM (
    SELECT job.id, job.kind, job.finalized_at,
           left(split_part(
               ltrim(job.errors[array_upper(job.errors, 1)] ->> 'error', E' \t\r\n'), E'\n', 1
           ), 300) AS error
    FROM newest
    JOIN /* schema */river_job AS job ON job.id = newest.id
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
