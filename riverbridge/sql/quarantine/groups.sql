-- The newest events in quarantine, by source and the first line of their reason. The first row is
-- none: it says how many were looked at.
WITH newest AS MATERIALIZED (
    SELECT id, source, left(split_part(reason, E'\n', 1), 300) AS reason, created_at
    FROM /* schema */riverbridge_quarantine
    ORDER BY id DESC
    LIMIT %(window)s::int + 1
)
SELECT NULL::text, NULL::text, count(*)::bigint, NULL::text, NULL::bigint
FROM newest
UNION ALL
SELECT source, reason, count(*)::bigint, to_json(max(created_at)) #>> '{}', max(id)
FROM newest
GROUP BY source, reason
