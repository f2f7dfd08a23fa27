-- Which of these rights the role does not have, by their places in the lists. Of a table that is not
-- there nothing is told.
SELECT wanted.place::int
FROM unnest(%(kinds)b::text[], %(objects)b::text[], %(rights)b::text[], %(columns)b::text[])
     WITH ORDINALITY AS wanted (kind, object, privilege, part, place)
WHERE NOT CASE wanted.kind
    WHEN 'schema' THEN has_schema_privilege(
        (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('/* schema */river_job')),
        wanted.privilege
    )
    WHEN 'sequence' THEN has_sequence_privilege(to_regclass('/* schema */' || wanted.object), wanted.privilege)
    WHEN 'column' THEN has_column_privilege(
        to_regclass('/* schema */' || wanted.object), wanted.part, wanted.privilege
    )
    ELSE has_table_privilege(to_regclass('/* schema */' || wanted.object), wanted.privilege)
END
ORDER BY wanted.place
