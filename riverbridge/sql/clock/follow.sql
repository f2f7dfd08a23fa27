-- Names pg_catalog last in this session's search path: without that it would come first.
SELECT set_config(
    'search_path',
    string_agg(quote_ident(name), ', ' ORDER BY place) || ', pg_catalog',
    false
)
FROM (
    SELECT name, min(place) AS place
    FROM unnest(current_schemas(false) || coalesce(%(schema)s::text, current_schema())::name)
        WITH ORDINALITY AS listed (name, place)
    WHERE name <> 'pg_catalog'
    GROUP BY name
) AS path
