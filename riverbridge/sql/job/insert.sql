-- Inserts jobs and gives the rows back in the order of the arrays (contract 3.1). Tags come joined by
-- commas, which no tag can hold. max_attempts is always given: its default is only in the newest
-- tables. Instants go back as UTC without zone, as a session's own zone may push them past the year
-- 9999, which Python cannot hold. The columns that are not returned are null in a new row.
INSERT INTO /* schema */river_job AS job (
    kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata
)
SELECT kind, args::jsonb, max_attempts, priority, queue, state::/* schema */river_job_state,
       now(), coalesce(scheduled_at, now()), string_to_array(tags, ','), metadata::jsonb
FROM unnest(
    %(kinds)b::text[],
    %(args)b::text[],
    %(max_attempts)b::smallint[],
    %(priorities)b::smallint[],
    %(queues)b::text[],
    %(states)b::text[],
    %(scheduled_at)b::timestamptz[],
    %(tags)b::text[],
    %(metadata)b::text[]
) WITH ORDINALITY AS given (
    kind, args, max_attempts, priority, queue, state, scheduled_at, tags, metadata, position
)
ORDER BY position
RETURNING job.id, job.state::text, job.attempt, job.max_attempts, job.kind, job.queue, job.priority,
          job.args::text, job.metadata::text, job.tags::text[],
          job.created_at AT TIME ZONE 'UTC', job.scheduled_at AT TIME ZONE 'UTC'
