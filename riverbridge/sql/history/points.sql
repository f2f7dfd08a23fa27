-- The history of the names that are asked for, oldest first.
SELECT at, facet, name, inserted, completed, cancelled, discarded, failed, wait, run, available, oldest
FROM /* schema */riverbridge_history
WHERE step = %(step)s::int
  AND at >= %(since)s::timestamptz
  AND facet = %(facet)s::text
  AND name = ANY (%(names)b::text[])
ORDER BY at
