-- The finished jobs that match, by route and state; those without a route are none of the replay's.
SELECT found.route, found.state, count(*), min(found.id), max(found.id)
FROM (
    SELECT job.id, job.state::text AS state, /* include replay/route */ AS route
    FROM /* schema */river_job AS job
    WHERE
        /* include replay/matching */
) AS found
GROUP BY found.route, found.state
ORDER BY found.route, found.state
