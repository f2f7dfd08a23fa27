-- The names of queues; match is a pattern as in River UI, with its wildcards.
SELECT name
FROM /* schema */river_queue
WHERE name > %(after)s::text
  AND name ILIKE '%%' || %(match)s::text || '%%'
  AND name <> ALL (%(exclude)b::text[])
ORDER BY name
LIMIT %(limit)s::int
