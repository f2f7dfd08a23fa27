-- Announces queues and inserts jobs none of which is unique; in the order given, what only the
-- database knows of them (contract 3.1 and 5.3). It asks for no right on the columns of unique jobs.
-- max_attempts is always given: its default is only in the newest tables. Most jobs of a call have the
-- same options: those that differ are taken apart once. The instant goes back as UTC without zone: in
-- a session's own it may be past the year 9999, which Python cannot hold.
WITH announced AS MATERIALIZED (
    SELECT count(pg_notify(
        concat(coalesce(%(schema)s::text, current_schema()), '.river_insert'),
        '{"queue": ' || to_json(queue)::text || '}'
    ))
    FROM json_array_elements_text(%(queues)s::text::json) AS queue
)
INSERT INTO /* schema */river_job AS job (
    kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata
)
SELECT kind, args::jsonb, max_attempts, priority, queue, state::/* schema */river_job_state,
       now(), coalesce(scheduled_at, now()), tags, metadata
FROM announced, -- always one row, which is not there before the notifications are sent
     ROWS FROM (
         string_to_table(%(args)s::text, chr(10)), string_to_table(%(options)s::text, ',')
     ) WITH ORDINALITY AS given (args, number, position)
     JOIN ROWS FROM (json_to_recordset(%(distinct)s::text::json) AS (
         kind text, max_attempts smallint, priority smallint, queue text, state text,
         scheduled_at timestamptz, tags text[], metadata jsonb
     )) WITH ORDINALITY AS options (
         kind, max_attempts, priority, queue, state, scheduled_at, tags, metadata, number
     ) ON options.number = given.number::bigint
ORDER BY position
RETURNING job.id, job.created_at AT TIME ZONE 'UTC'
