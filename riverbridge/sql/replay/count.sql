-- The finished jobs of a range of ids that match, by route and state; those without a route are none of
-- the replay's. Which route takes a job is asked once for each queue and kind.
SELECT route, state, sum(jobs)::bigint, min(first_id), max(last_id)
FROM (
    SELECT job.state, job.jobs, job.first_id, job.last_id, /* include replay/route */ AS route
    FROM (
        SELECT job.queue, job.kind, job.state::text AS state, count(*) AS jobs,
               min(job.id) AS first_id, max(job.id) AS last_id
        FROM /* schema */river_job AS job
        WHERE job.id BETWEEN %(low)s::bigint AND %(high)s::bigint
          AND /* include replay/matching */
        GROUP BY job.queue, job.kind, job.state
    ) AS job
) AS found
GROUP BY route, state
ORDER BY route, state
