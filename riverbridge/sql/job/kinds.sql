-- The kinds that jobs have: one probe of the index for each. match is a pattern as in River UI, with
-- its wildcards.
WITH RECURSIVE found (kind) AS (
    (SELECT kind FROM /* schema */river_job WHERE kind > %(after)s::text ORDER BY kind LIMIT 1)
    UNION ALL
    SELECT (SELECT kind FROM /* schema */river_job WHERE kind > found.kind ORDER BY kind LIMIT 1)
    FROM found
    WHERE found.kind IS NOT NULL
)
SELECT kind
FROM (SELECT kind FROM found WHERE kind IS NOT NULL LIMIT 10000) AS known
WHERE kind ILIKE '%%' || %(match)s::text || '%%'
  AND kind <> ALL (%(exclude)b::text[])
LIMIT %(limit)s::int
