-- Those of `ids` that are still there, each for this transaction alone.
SELECT id, source, event_id, topic, partition, position, event_at, key, headers, body, reason, created_at
FROM /* schema */riverbridge_quarantine
WHERE id = ANY (%(ids)b::bigint[])
ORDER BY id
FOR UPDATE
