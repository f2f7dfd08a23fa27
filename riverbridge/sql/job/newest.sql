-- The jobs inserted last, newest first, as long as their args together have not so many bytes.
SELECT id, kind, args, metadata, attempt, max_attempts, failures, priority, queue, tags,
       created, due
FROM (
    SELECT last.*,
           sum(octet_length(args)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(args) AS before
    FROM (
        SELECT /* include job/claimed */
        FROM /* schema */river_job
        ORDER BY id DESC
        LIMIT %(limit)s
    ) AS last
) AS sized
WHERE before < %(bytes)s
ORDER BY id DESC
