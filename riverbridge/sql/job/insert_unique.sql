-- As insert.sql, for jobs of which some are unique (contract 3.1): where the key is taken, the row
-- that holds it comes back and `true` beside it. As in River, that row is locked and gets the new
-- job's kind. A key may be given once only.
WITH announced AS MATERIALIZED (
    SELECT count(pg_notify(
        concat(coalesce(%(schema)s::text, current_schema()), '.river_insert'),
        '{"queue": ' || to_json(queue)::text || '}'
    ))
    FROM json_array_elements_text(%(queues)s::text::json) AS queue
)
INSERT INTO /* schema */river_job AS job (
    kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata,
    unique_key, unique_states
)
SELECT kind, args::jsonb, max_attempts, priority, queue, state::/* schema */river_job_state,
       now(), coalesce(scheduled_at, now()), tags, metadata,
       decode(unique_key, 'base64'), unique_states::bit(8)
FROM announced,
     ROWS FROM (json_to_recordset(%(jobs)s::text::json) AS (
         kind text, args text, max_attempts smallint, priority smallint, queue text, state text,
         scheduled_at timestamptz, tags text[], metadata jsonb, unique_key text, unique_states int
     )) WITH ORDINALITY AS given (
         kind, args, max_attempts, priority, queue, state, scheduled_at, tags, metadata,
         unique_key, unique_states, position
     )
ORDER BY position
ON CONFLICT (unique_key)
    WHERE unique_key IS NOT NULL AND unique_states IS NOT NULL
      AND /* schema */river_job_state_in_bitmask(unique_states, state)
    DO UPDATE SET kind = excluded.kind
RETURNING to_json(job)::text, job.xmax <> 0
