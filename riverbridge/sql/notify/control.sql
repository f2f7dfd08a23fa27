SELECT pg_notify(
    concat(coalesce(%(schema)s::text, current_schema()), '.river_control'),
    %(payload)s::text
)
