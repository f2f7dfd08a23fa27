-- The attempts that failed between two instants, from the errors of the jobs that are not over: waiting
-- for the next attempt (no sooner than the failure) or at work again. River's errors say in RFC 3339
-- and UTC when the attempt began, which sorts as text; what is no such text is not counted. Of each
-- queue and priority only the next few hundred are looked at, so that a pile of failing jobs costs no
-- more: the count is then too low, as it is where attempts run for longer than the look comes after
-- them.
WITH RECURSIVE place (state, queue) AS (
    SELECT wanted.state, (
        SELECT job.queue FROM /* schema */river_job AS job
        WHERE job.state = wanted.state ORDER BY job.queue LIMIT 1
    )
    FROM unnest(ARRAY['available', 'retryable']::/* schema */river_job_state[]) AS wanted (state)
    UNION ALL
    SELECT place.state, (
        SELECT job.queue FROM /* schema */river_job AS job
        WHERE job.state = place.state AND job.queue > place.queue ORDER BY job.queue LIMIT 1
    )
    FROM place
    WHERE place.queue IS NOT NULL
),
looked AS (
    SELECT job.*
    FROM (SELECT * FROM place WHERE queue IS NOT NULL LIMIT 1000) AS place
    CROSS JOIN generate_series(1, 4) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT job.queue, job.kind, job.errors
        FROM /* schema */river_job AS job
        WHERE job.state = place.state
          AND job.queue = place.queue
          AND job.priority = level.priority
          AND job.scheduled_at >= %(since)s::timestamptz
          AND job.scheduled_at < CASE place.state
              WHEN 'available' THEN now() + interval '10 seconds' ELSE 'infinity' END
        ORDER BY job.scheduled_at
        LIMIT %(limit)s::int
    ) AS job
    UNION ALL
    (SELECT queue, kind, errors FROM /* schema */river_job WHERE state = 'running' LIMIT 5000)
)
SELECT queue, kind, count(*)
FROM looked
CROSS JOIN LATERAL unnest(errors[greatest(cardinality(errors) - 4, 1):]) AS error
WHERE (error ->> 'at') COLLATE "C" >= %(since_text)s::text
  AND (error ->> 'at') COLLATE "C" < %(until_text)s::text
GROUP BY queue, kind
