-- What is paused already stays so since then; who, why and until when are the new ones. No row where
-- the end is past.
INSERT INTO /* schema */riverbridge_pause AS pause (what, name, paused_by, reason, until)
SELECT %(what)s::text, %(name)s::text, %(by)s::text, %(reason)s::text, given.until
FROM (SELECT coalesce(
          %(until)s::timestamptz, now() + make_interval(secs => %(seconds)s::float8)
      ) AS until) AS given
WHERE given.until IS NULL OR given.until > now()
ON CONFLICT (what, name) DO UPDATE
SET paused_at = CASE WHEN pause.until <= now() THEN excluded.paused_at ELSE pause.paused_at END,
    paused_by = excluded.paused_by,
    reason = excluded.reason,
    until = excluded.until
RETURNING to_json(pause)::text
