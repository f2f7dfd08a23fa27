SELECT name
FROM /* schema */river_queue
WHERE name = ANY (%(names)b::text[])
  AND paused_at IS NOT NULL
