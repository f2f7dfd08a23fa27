-- The right to serve a share of an ordered route, for this transaction only: whatever ends it, the
-- connection's death too, ends the right. By the schema's name, however the search path found it.
SELECT pg_try_advisory_xact_lock(hashtextextended(
    concat_ws(' ', 'riverbridge order', coalesce(%(schema)s::text, current_schema()), %(route)s::text),
    %(share)s
))
