-- As insert_unique.sql, where nobody asks for the rows: a job whose key is taken is left out
-- (contract 3.2). How many were inserted.
WITH announced AS MATERIALIZED (
    SELECT count(pg_notify(
        concat(coalesce(%(schema)s::text, current_schema()), '.river_insert'),
        '{"queue": ' || to_json(queue)::text || '}'
    ))
    FROM json_array_elements_text(%(queues)s::text::json) AS queue
), inserted AS (
    INSERT INTO /* schema */river_job (
        kind, args, max_attempts, priority, queue, state, created_at, scheduled_at, tags, metadata,
        unique_key, unique_states
    )
    SELECT kind, args::jsonb, max_attempts, priority, queue, state::/* schema */river_job_state,
           now(), coalesce(scheduled_at, now()), tags, metadata,
           decode(nullif(unique_key, ''), 'base64'), unique_states::bit(8)
    FROM announced,
         ROWS FROM (
             string_to_table(%(args)s::text, chr(10)), string_to_table(%(options)s::text, ','),
             string_to_table(%(keys)s::text, ',')
         ) WITH ORDINALITY AS given (args, number, unique_key, position)
         JOIN ROWS FROM (json_to_recordset(%(distinct)s::text::json) AS (
             kind text, max_attempts smallint, priority smallint, queue text, state text,
             scheduled_at timestamptz, tags text[], metadata jsonb, unique_states int
         )) WITH ORDINALITY AS options (
             kind, max_attempts, priority, queue, state, scheduled_at, tags, metadata,
             unique_states, number
         ) ON options.number = given.number::bigint
    ORDER BY position
    ON CONFLICT (unique_key)
        WHERE unique_key IS NOT NULL AND unique_states IS NOT NULL
          AND /* schema */river_job_state_in_bitmask(unique_states, state)
        DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM inserted
