-- A type; of a composite one a row for each of its fields.
SELECT t.typbasetype::bigint,
       CASE WHEN t.typoutput = 'array_out'::regproc THEN t.typelem::bigint ELSE 0 END,
       coalesce(e.typdelim::text, ','),
       a.attname::text, a.atttypid::bigint
FROM pg_type AS t
LEFT JOIN pg_type AS e ON e.oid = t.typelem
LEFT JOIN pg_attribute AS a
    ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
WHERE t.oid = %(type)s::oid
ORDER BY a.attnum
