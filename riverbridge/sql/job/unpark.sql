-- Brings jobs that are parked for a sink forward: they are available now. Nothing while any of those
-- that were brought forward last is still unclaimed, so that new jobs do not wait behind them all.
-- Only rows that are scheduled and parked for this sink as they are now: what somebody else made of a
-- job stands, and what somebody has in hand is passed over. Each queue and priority is walked by
-- itself, and only as far ahead as a job is parked: jobs that others scheduled are behind that. Not
-- twice a second, should two processes disagree about the sink. A job that would take its unique key
-- only now is left to the scheduler, which knows what to do if another has it.
WITH held AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM /* schema */river_job
        WHERE id = ANY (%(before)b::bigint[]) AND state = 'available'
    ) AS back
),
parked AS MATERIALIZED (
    SELECT job.id
    FROM unnest(%(queues)b::text[]) AS own (queue)
    CROSS JOIN (VALUES (1::smallint), (2::smallint), (3::smallint), (4::smallint)) AS level (priority)
    CROSS JOIN LATERAL (
        SELECT river_job.id
        FROM /* schema */river_job
        WHERE NOT (SELECT back FROM held)
          AND state = 'scheduled'
          AND river_job.queue = own.queue
          AND river_job.priority = level.priority
          AND river_job.scheduled_at > now() - interval '1 minute'
          AND river_job.scheduled_at < now() + interval '6 minutes'
          AND metadata -> 'riverbridge:parked' -> 'for' ? %(sink)s
          AND attempted_at < now() - interval '1 second'
          AND id <> ALL (%(sent)b::bigint[])
          AND (unique_key IS NULL OR unique_states IS NULL OR get_bit(unique_states, 0) = 1)
        ORDER BY river_job.scheduled_at, river_job.id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS job
    LIMIT %(limit)s
),
moved AS (
    UPDATE /* schema */river_job
    SET state = 'available', scheduled_at = now()
    WHERE id = ANY (ARRAY(SELECT id FROM parked))
    RETURNING id, queue
)
SELECT (SELECT back FROM held),
       ARRAY(SELECT id FROM moved),
       ARRAY(SELECT DISTINCT queue FROM moved)
