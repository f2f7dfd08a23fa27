-- Locks these jobs, in this order, but for those that somebody else has in hand, that are not due or
-- not available any more, or that the budget of bytes does not hold. One by one, as in poll.sql.
SELECT id, kind, args, metadata, attempt, max_attempts, failures, priority, queue, tags,
       created, due
FROM (
    SELECT job.*, place,
           sum(octet_length(args)) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING)
           - octet_length(args) AS before
    FROM unnest(%(ids)b::bigint[]) WITH ORDINALITY AS wanted (number, place)
    CROSS JOIN LATERAL (
        SELECT /* include job/claimed */
        FROM /* schema */river_job
        WHERE id = wanted.number
          AND state = 'available'
          AND scheduled_at <= now()
          AND /* include order/mine */
        FOR UPDATE SKIP LOCKED
    ) AS job
) AS sized
WHERE before < %(bytes)s
ORDER BY place
