-- Locks these jobs, in this order, but for those that somebody else has in hand, that are not due or
-- not available any more, or that the budget of bytes does not hold.
SELECT id, kind, args, metadata, attempt, max_attempts, failures, priority, queue, tags,
       created, due
FROM (
    SELECT locked.*,
           sum(octet_length(args)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(args) AS before
    FROM (
        SELECT /* include job/claimed */
        FROM unnest(%(ids)b::bigint[]) WITH ORDINALITY AS wanted (wanted_id, place)
        JOIN /* schema */river_job AS job ON id = wanted_id
        WHERE state = 'available'
          AND scheduled_at <= now()
          AND /* include order/mine */
        ORDER BY place
        FOR UPDATE OF job SKIP LOCKED
    ) AS locked
) AS sized
WHERE before < %(bytes)s
