-- A page of jobs that match all that is given; what is null is not asked for (contract 3.11). Every
-- CASE depends on parameters alone: the planner takes its branch before it looks for an index. An
-- instant that is not there sorts as the infinite one it would be, so that a page can begin after it.
SELECT to_json(job)::text
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
    /* include job/filter */
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
LIMIT %(limit)s::int
