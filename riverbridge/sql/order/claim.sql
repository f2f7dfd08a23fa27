-- Locks these jobs, in this order, but for those that somebody else has in hand, that are not due or
-- not available any more, or that the budget of bytes does not hold.
SELECT id, kind, args, metadata, attempt, max_attempts, failures, priority, queue, tags,
       created, due
FROM (
    SELECT locked.*,
           sum(octet_length(args)) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING)
           - octet_length(args) AS before
    FROM (
        SELECT /* include job/claimed */, array_position(%(ids)b::bigint[], id) AS place
        FROM /* schema */river_job
        WHERE id = ANY (%(ids)b::bigint[])
          AND state = 'available'
          AND scheduled_at <= now()
          AND /* include order/mine */
        FOR UPDATE SKIP LOCKED
    ) AS locked
) AS sized
WHERE before < %(bytes)s
ORDER BY place
