-- The jobs inserted since the last look, by the minute in which they were. A client says when that was:
-- what it says is taken as far as it can be true.
SELECT date_trunc('minute', least(greatest(created_at, %(since)s::timestamptz), now()), 'UTC') AS minute,
       queue, kind, count(*)
FROM /* schema */river_job
WHERE id > %(after_id)s::bigint AND id <= %(to_id)s::bigint
GROUP BY minute, queue, kind
