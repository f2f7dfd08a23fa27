-- As insert.sql, for one job: a tenth quicker.
WITH /* include job/announced */
INSERT INTO /* schema */river_job AS job (
    kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata
)
SELECT %(kind)s::text, %(args)s::text::jsonb, %(max_attempts)s::smallint, %(priority)s::smallint,
       %(queue)s::text, %(state)s::text::/* schema */river_job_state,
       now(), coalesce(%(scheduled_at)s::timestamptz, now()),
       string_to_array(%(tags)s::text, ','), %(metadata)s::text::jsonb
FROM announced -- always one row, which is not there before the notifications are sent
RETURNING job.id, job.created_at AT TIME ZONE 'UTC'
