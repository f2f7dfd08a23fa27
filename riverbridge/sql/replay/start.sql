INSERT INTO /* schema */riverbridge_replay AS replay
    (plan, rate, started_by, started_at, after_id, last_id, total, state, ended_at)
VALUES (%(plan)s::text::jsonb, %(rate)s::float8, %(started_by)s::text, %(started_at)s::timestamptz,
        %(after_id)s::bigint, %(last_id)s::bigint, %(total)s::bigint,
        CASE WHEN %(total)s::bigint = 0 THEN 'finished' ELSE 'open' END,
        CASE WHEN %(total)s::bigint = 0 THEN now() END)
RETURNING to_json(replay)::text
