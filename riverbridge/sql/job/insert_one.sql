-- As insert_alike.sql, for one job and without a notification: a sixth quicker, commit and all.
INSERT INTO /* schema */river_job AS job (
    kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata
)
VALUES (
    %(kind)s::text, %(args)s::text::jsonb, %(max_attempts)s::smallint, %(priority)s::smallint,
    %(queue)s::text, %(state)s::text::/* schema */river_job_state,
    now(), coalesce(%(scheduled_at)s::timestamptz, now()),
    string_to_array(%(tags)s::text, ','), %(metadata)s::text::jsonb
)
RETURNING job.id, job.created_at AT TIME ZONE 'UTC'
