-- Those of these jobs that are available, or all of them. One by one, as in poll.sql.
SELECT job.*
FROM unnest(%(ids)b::bigint[]) AS wanted (number)
CROSS JOIN LATERAL (
    SELECT /* include job/claimed */
    FROM /* schema */river_job
    WHERE id = wanted.number
      AND (state = 'available' OR %(all)s)
      AND /* include order/mine */
) AS job
ORDER BY id
