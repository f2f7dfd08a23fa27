-- Whether the index is there, beside river_job, and what an unfinished REINDEX CONCURRENTLY of it has
-- left: relations with its name and `_ccnew` or `_ccold` after it, perhaps with a number.
SELECT
    wanted.name,
    place.nspname::text,
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS relation
        WHERE
            relation.relnamespace = place.oid
            AND relation.relname = wanted.name
            AND relation.relkind = 'i'
    ),
    ARRAY(
        SELECT relation.relname::text
        FROM pg_catalog.pg_class AS relation
        WHERE
            relation.relnamespace = place.oid
            AND starts_with(relation.relname::text, wanted.name)
            AND substr(relation.relname::text, char_length(wanted.name) + 1)
                ~ '^_cc(new|old)[0-9]*$'
        ORDER BY relation.relname
    )
FROM (SELECT %(name)s::text AS name) AS wanted
CROSS JOIN pg_catalog.pg_class AS jobs
JOIN pg_catalog.pg_namespace AS place ON place.oid = jobs.relnamespace
WHERE jobs.oid = to_regclass('/* schema */river_job')
