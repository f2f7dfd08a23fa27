SELECT id, source, event_id, topic, partition, position, event_at, key, headers, body, reason, created_at
FROM /* schema */riverbridge_quarantine
WHERE (%(source)s::text IS NULL OR source = %(source)s::text) AND id > %(after)s
ORDER BY id
LIMIT %(limit)s
