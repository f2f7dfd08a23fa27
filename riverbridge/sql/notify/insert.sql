SELECT pg_notify(
    concat(coalesce(%(schema)s::text, current_schema()), '.river_insert'),
    '{"queue": ' || to_json(queue)::text || '}'
)
FROM unnest(%(queues)b::text[]) AS queue
