-- Locks the next jobs of one queue, River's order: priority, scheduled_at, id (contract 3.3).
-- Each priority is walked by itself from its own floor, so that neither dead rows at the head of
-- the index nor jobs dated ahead are read again at each claim. A floor is a hint, less a second for
-- what was committed late; '-infinity' reads all. The running total cuts the batch by bytes: a row
-- whose predecessors already fill the budget is not sent. It is taken above the limit, as it reads
-- a row ahead, which below would be locked and sent to nobody. Instants go as their eight bytes and
-- tags as one text, since a datetime or a list for each row costs more than the rest of it.
SELECT id, kind, args, metadata, attempt, max_attempts, failures, priority, queue, tags,
       created, due
FROM (
    SELECT batch.*,
           sum(octet_length(args)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(args) AS before
    FROM (
        SELECT job.*
        FROM (VALUES (1::smallint, %(floor_1)s::text::timestamptz - interval '1 second'),
                     (2::smallint, %(floor_2)s::text::timestamptz - interval '1 second'),
                     (3::smallint, %(floor_3)s::text::timestamptz - interval '1 second'),
                     (4::smallint, %(floor_4)s::text::timestamptz - interval '1 second')
             ) AS level (number, floor)
        CROSS JOIN LATERAL (
            SELECT /* include job/claimed */
            FROM /* schema */river_job
            WHERE state = 'available'
              AND queue = %(queue)s
              AND priority = level.number
              AND river_job.scheduled_at >= level.floor
              AND river_job.scheduled_at <= now()
              AND (kind LIKE ANY (%(kinds)b::text[])) = %(taken)s
              AND id <> ALL (%(aside)b::bigint[])
            ORDER BY river_job.scheduled_at, id
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ) AS job
        LIMIT %(limit)s
    ) AS batch
) AS sized
WHERE before < %(bytes)s
