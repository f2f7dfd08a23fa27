-- The bytes of an event, up to a limit for each.
SELECT left(reason, 10000), to_json(event_at) #>> '{}', key, headers, substring(body FROM 1 FOR %(limit)s::int)
FROM /* schema */riverbridge_quarantine
WHERE id = %(id)s::bigint
