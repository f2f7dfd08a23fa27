-- One look at the jobs in an order: a window of those that an index can tell, and which of them match
-- in full. The first row is no job: it says how many were looked at and which was the last, where the
-- next look begins. loosely: kinds and queues are not asked of an index either, so that a look always
-- ends in time.
WITH examined AS MATERIALIZED (
    SELECT job.id, sorted.moment
    FROM /* schema */river_job AS job
    CROSS JOIN LATERAL (
        SELECT CASE %(sorted_by)s::text
                   WHEN 'scheduled_at' THEN job.scheduled_at
                   WHEN 'finalized_at' THEN job.finalized_at
                   WHEN 'finalized_at or none' THEN coalesce(job.finalized_at, 'infinity')
                   WHEN 'attempted_at or none' THEN coalesce(job.attempted_at, 'infinity')
               END AS moment
    ) AS sorted
    WHERE
    /* include job/indexed */
    AND (%(loosely)s::boolean OR (
    /* include job/named */
    ))
    -- Which it is; the index that has these jobs in order says so of itself.
    AND (%(sorted_by)s::text <> 'finalized_at' OR job.finalized_at IS NOT NULL)
    AND CASE
        WHEN %(after_id)s::bigint IS NULL THEN true
        WHEN %(sorted_by)s::text = 'id' AND %(descending)s::boolean THEN job.id < %(after_id)s::bigint
        WHEN %(sorted_by)s::text = 'id' THEN job.id > %(after_id)s::bigint
        WHEN %(descending)s::boolean
            THEN (sorted.moment, job.id) < (%(after_time)s::text::timestamptz, %(after_id)s::bigint)
        ELSE (sorted.moment, job.id) > (%(after_time)s::text::timestamptz, %(after_id)s::bigint)
    END
    ORDER BY
        CASE WHEN NOT %(descending)s::boolean THEN sorted.moment END,
        CASE WHEN %(descending)s::boolean THEN sorted.moment END DESC,
        CASE WHEN NOT %(descending)s::boolean THEN job.id END,
        CASE WHEN %(descending)s::boolean THEN job.id END DESC
    LIMIT %(window)s::int
),
numbered AS MATERIALIZED (
    SELECT id, moment, row_number() OVER (
        ORDER BY
            CASE WHEN NOT %(descending)s::boolean THEN moment END,
            CASE WHEN %(descending)s::boolean THEN moment END DESC,
            CASE WHEN NOT %(descending)s::boolean THEN id END,
            CASE WHEN %(descending)s::boolean THEN id END DESC
    ) AS number
    FROM examined
),
found AS (
    SELECT numbered.number, numbered.moment, job.*
    FROM numbered
    JOIN /* schema */river_job AS job ON job.id = numbered.id
    WHERE
    /* include job/read */
    AND (
    /* include job/named */
    )
    ORDER BY numbered.number
    LIMIT %(limit)s::int
)
SELECT 0 AS number,
       last.id,
       CASE WHEN %(sorted_by)s::text <> 'id' THEN last.moment::text END,
       (SELECT count(*) FROM numbered)::bigint,
       NULL::text
FROM (SELECT count(*)) AS once
LEFT JOIN LATERAL (SELECT id, moment FROM numbered ORDER BY number DESC LIMIT 1) AS last ON true
UNION ALL
SELECT number,
       id,
       CASE WHEN %(sorted_by)s::text <> 'id' THEN moment::text END,
       number,
       json_build_object(
           'id', id, 'state', state, 'kind', kind, 'queue', queue, 'attempt', attempt,
           'max_attempts', max_attempts, 'priority', priority, 'tags', tags,
           'created_at', created_at, 'scheduled_at', scheduled_at, 'attempted_at', attempted_at,
           'finalized_at', finalized_at,
           'args', CASE WHEN pg_column_size(args) <= 2000 THEN args END,
           'args_size', pg_column_size(args),
           'error', left(errors[array_upper(errors, 1)] ->> 'error', 300),
           'worker', attempted_by[array_upper(attempted_by, 1)]
       )::text
FROM found
ORDER BY number
