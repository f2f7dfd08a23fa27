-- An event that lies here already stays as it is.
INSERT INTO /* schema */riverbridge_quarantine (
    digest, source, event_id, topic, partition, position, event_at, key, headers, body, reason
)
SELECT digest, %(source)s, event_id, topic, partition, position, event_at, key, headers, body, reason
FROM unnest(
    %(digests)b::bytea[], %(event_ids)b::text[], %(topics)b::text[], %(partitions)b::text[],
    %(positions)b::text[], %(event_at)b::timestamptz[], %(keys)b::bytea[], %(headers)b::bytea[],
    %(bodies)b::bytea[], %(reasons)b::text[]
) AS given (
    digest, event_id, topic, partition, position, event_at, key, headers, body, reason
)
ON CONFLICT (digest) DO NOTHING
