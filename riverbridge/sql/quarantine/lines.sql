-- Events in quarantine without their bytes, the newest first.
SELECT id, source, event_id, topic, partition, position, octet_length(body)::bigint, left(reason, 300),
       to_json(created_at) #>> '{}'
FROM /* schema */riverbridge_quarantine
WHERE (%(source)s::text IS NULL OR source = %(source)s::text)
  AND (%(reason)s::text IS NULL OR reason LIKE %(reason)s::text)
  AND (%(ids)b::bigint[] IS NULL OR id = ANY (%(ids)b::bigint[]))
  AND (%(before)s::bigint IS NULL OR id < %(before)s::bigint)
ORDER BY id DESC
LIMIT %(limit)s::int
