-- Makes somebody the runner of a replay, or lets the runner say that it is there. One that has fallen
-- silent is replaced.
UPDATE /* schema */riverbridge_replay AS replay
SET runner = %(runner)s::text,
    beat_at = clock_timestamp(),
    rate = coalesce(%(rate)s::float8, rate)
WHERE id = %(id)s::bigint
  AND state = 'open'
  AND (runner IS NULL OR runner = %(runner)s::text
       OR beat_at < clock_timestamp() - make_interval(secs => %(silence)s::float8))
RETURNING to_json(replay)::text
